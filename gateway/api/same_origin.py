"""When the console's cookie counts as a credential: only for what the console's own page sends on purpose.

A browser adds the cookie to whatever goes to this host, whoever wrote the page. So beside SameSite=Strict the request
has to carry `X-Console`, which another origin cannot send without asking by CORS (and no answer of ours allows it), and
has to say that it is of this origin. Requests without the header are judged by their other credentials alone.
"""

from gateway.api.context import Connection
from gateway.api.cookies import cookie_of
from gateway.api.origins import is_own
from gateway.auth.keys import is_id
from gateway.domain import Principal
from gateway.errors import Forbidden, SessionChanged, Unauthenticated

COOKIE = "gateway-console"
HEADER = "x-console"

_SAFE = ("GET", "HEAD", "OPTIONS")


def session_of(connection: Connection) -> str | None:
    """What the cookie holds; None where the request does not go by it. Raises Forbidden, Unauthenticated."""
    if HEADER not in connection.headers:
        return None
    if not _is_ours(connection):
        raise Forbidden("This was not sent by the console of this gateway.")
    text = cookie_of(connection, COOKIE)
    if not text:
        raise Unauthenticated("Nobody is signed in at the console.")
    return text


def check_meant(connection: Connection, principal: Principal) -> None:
    """Raises SessionChanged where the header names a key and the session is of another: all tabs of a browser share the
    cookie, and a page must not act by a key that it does not show.
    """
    meant = connection.headers.get(HEADER, "")
    if is_id(meant) and meant != principal.id:
        raise SessionChanged("Another key is signed in at the console now.")


def _is_ours(connection: Connection) -> bool:
    """By Sec-Fetch-Site, which a page cannot forge. Browsers leave it out on plain HTTP: then by Origin and Host, which
    only a read may lack.
    """
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.scope.get("method", "") in _SAFE
    return is_own(origin, connection.headers)
