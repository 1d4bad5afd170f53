"""One cookie of a request, read by hand.

Litestar's `connection.cookies` undoes the quotes of every value by `http.cookies`, which in Pythons before 3.11.10 and
3.12.6 takes the square of the value's length (CVE-2024-7592): one head of 32 KB held the event loop for two seconds. It
also remembers the headers of the last thousand callers, and with them their sessions.
"""

from gateway.api.context import Connection


def cookie_of(connection: Connection, name: str) -> str | None:
    """The value of the first cookie of this name, as the browser sends it; None where there is none."""
    for line in connection.headers.getall("cookie", []):
        for pair in line.split(";"):
            found, equals, value = pair.partition("=")
            if equals and found.strip() == name:
                return value.strip()
    return None
