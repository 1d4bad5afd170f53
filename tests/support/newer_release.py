"""A newer release on the same Redis, whose routes this one cannot read."""

import json

from stack import Addresses, store_environment

from gateway.canary.store import Cause, RouteStore
from gateway.store import connect


async def set_by_a_newer_release(redis: Addresses, model: str, tag: str) -> str:
    """In place of the route with this ETag; answers the ETag of the new one."""
    generation = int(tag.strip('"'))
    document = json.dumps({"model": model, "stable": "1", "colour": "red"})
    async with connect(store_environment(redis)["GATEWAY_REDIS_URL"], timeout=2) as client:
        await RouteStore(client).put(model, document, generation, Cause("newer", "put", ""))
    return f'"{generation + 1}"'
