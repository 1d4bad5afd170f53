"""What the command line changes in the store itself stands in the list of all changes, too."""

from contextlib import suppress

from gateway.store import Area, Audit, StoreAway

_ACTOR = "command line"


async def note(audit: Audit, action: str, subject: str) -> None:
    """A change of keys or tokens. It is done, and what it made must be shown, also where it cannot be noted."""
    with suppress(StoreAway):
        await audit.keep(_ACTOR, Area.KEYS, action, subject)
