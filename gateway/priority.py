"""How urgent a request is: its tier's class, the caller's wish, and the key's ceiling (pure; RFC 9218)."""

import re
from dataclasses import dataclass

from gateway.domain import Priority, Tier

_LONGEST = 256  # characters of a header worth reading

# A dictionary of RFC 9651, as far as needed to tell whether it is one.
_KEY = r"[a-z*][a-z0-9_\-.*]*"
_BARE = (
    r"(?:-?[0-9]{1,12}\.[0-9]{1,3}"  # decimal
    r"|-?[0-9]{1,15}"  # integer
    r"|@-?[0-9]{1,15}"  # date
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'  # string
    r'|%"(?:[ !#$&-~]|%[0-9a-f]{2})*"'  # display string
    r"|:[A-Za-z0-9+/=]*:"  # bytes
    r"|\?[01]"  # boolean
    r"|[A-Za-z*][A-Za-z0-9:/!#$%&'*+\-.^_`|~]*)"  # token
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_BARE})?)*"
_ITEM = rf"{_BARE}{_PARAMETERS}"
_INNER_LIST = rf"\( *(?:{_ITEM}(?: +{_ITEM})*)? *\){_PARAMETERS}"
_MEMBER = re.compile(rf"({_KEY})(?:=(?:({_BARE}){_PARAMETERS}|{_INNER_LIST})|{_PARAMETERS})")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")

_RENDERED = {Priority.INTERACTIVE: "u=1", Priority.STANDARD: "u=3", Priority.BATCH: "u=5"}


@dataclass(frozen=True, slots=True)
class PriorityPolicy:
    """Which urgency is which class: 0 to 2 interactive, 3 (the RFC's default) and 4 standard, 5 to 7 batch."""

    standard_from: int = 3
    batch_from: int = 5

    def assign(
        self,
        tier: Tier,
        ceiling: Priority,
        requested_urgency: int | None,
        requested_class: Priority | None,
    ) -> Priority:
        """The class a request gets: what it asks for, else its tier's, and never above the ceiling.

        A class asked for by name goes before the header's urgency, which browsers set on their own.
        """
        wish = requested_class
        if wish is None and requested_urgency is not None:
            wish = self._of_urgency(requested_urgency)
        return max(tier.priority if wish is None else wish, ceiling)

    def _of_urgency(self, urgency: int) -> Priority:
        if urgency >= self.batch_from:
            return Priority.BATCH
        return Priority.STANDARD if urgency >= self.standard_from else Priority.INTERACTIVE


def urgency_of(header: str) -> int | None:
    """The urgency that a Priority header asks for; None where it asks for none.

    A header that is not a dictionary counts as absent, and so does an urgency that is no integer from 0 to 7. Several
    lines of the header are joined with commas first.
    """
    found = _members(header).get("u", "") if len(header) <= _LONGEST else ""
    urgency = int(found) if re.fullmatch(r"-?[0-9]+", found) else -1
    return urgency if 0 <= urgency <= 7 else None


def render(priority: Priority) -> str:
    """The Priority header of the answer: the class that was applied."""
    return _RENDERED[priority]


def _members(header: str) -> dict[str, str]:
    """Keys and bare values, the last of each key; empty where the text is not a dictionary."""
    text = header.strip(" ")
    members: dict[str, str] = {}
    at = 0
    while match := _MEMBER.match(text, at):
        members[match[1]] = match[2] or ""
        separator = _SEPARATOR.match(text, match.end())
        if separator is None:
            return members if match.end() == len(text) else {}
        at = separator.end()
    return {}
