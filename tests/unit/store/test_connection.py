"""The client is made without a connection, and what is wrong with the far side is one error."""

import pytest
from stack import free_port

from gateway.store import Documents, StoreAway, connect


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
async def test_a_store_that_is_not_there_is_no_reason_not_to_start(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}{'/mymaster' if scheme.endswith('sentinel') else ''}"
    async with connect(url, timeout=0.5) as redis:
        documents = Documents(redis, key="gw:keys", channel="gw:keys")
        with pytest.raises(StoreAway):
            await documents.position()
        with pytest.raises(StoreAway):
            await documents.read()
        with pytest.raises(StoreAway):
            await anext(aiter(documents.hints()))
