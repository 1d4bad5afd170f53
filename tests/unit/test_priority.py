"""Which class a request gets, and what a Priority header says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Priority, Quota, Tier
from gateway.priority import PriorityPolicy, render, urgency_of

INTERACTIVE, STANDARD, BATCH = Priority
QUOTA = Quota(limit=10, period=1, burst=10)

CASES = [
    (STANDARD, INTERACTIVE, None, None, STANDARD, "who asks for nothing gets the tier's class"),
    (STANDARD, INTERACTIVE, 6, None, BATCH, "the header lowers"),
    (STANDARD, INTERACTIVE, 1, None, INTERACTIVE, "the header raises up to the ceiling"),
    (STANDARD, STANDARD, 1, None, STANDARD, "the header does not raise above the ceiling"),
    (BATCH, STANDARD, 0, None, STANDARD, "a wish above the ceiling gets the ceiling"),
    (STANDARD, INTERACTIVE, None, BATCH, BATCH, "the field lowers"),
    (BATCH, INTERACTIVE, None, INTERACTIVE, INTERACTIVE, "the field raises up to the ceiling"),
    (BATCH, BATCH, None, INTERACTIVE, BATCH, "the field does not raise above the ceiling"),
    (STANDARD, INTERACTIVE, 1, BATCH, BATCH, "the field goes before the header"),
    (INTERACTIVE, BATCH, None, None, BATCH, "a tier's class above the key's ceiling gets the ceiling"),
]


def tier(priority: Priority) -> Tier:
    return Tier("any", key=QUOTA, tenant=QUOTA, daily=None, in_flight=1, priority=priority)


@pytest.mark.parametrize(
    ("own", "ceiling", "urgency", "named", "expected"),
    [case[:5] for case in CASES],
    ids=[c[5] for c in CASES],
)
def test_the_class_of_a_request(
    own: Priority, ceiling: Priority, urgency: int | None, named: Priority | None, expected: Priority
) -> None:
    assert PriorityPolicy().assign(tier(own), ceiling, urgency, named) is expected


@pytest.mark.parametrize(
    ("urgency", "expected"), list(enumerate([INTERACTIVE] * 3 + [STANDARD] * 2 + [BATCH] * 3)), ids=str
)
def test_each_urgency_is_a_class(urgency: int, expected: Priority) -> None:
    assert PriorityPolicy().assign(tier(STANDARD), INTERACTIVE, urgency, None) is expected


@pytest.mark.parametrize("priority", Priority, ids=lambda p: p.name.lower())
def test_what_an_answer_says_asks_for_the_same_class_when_it_is_sent_back(priority: Priority) -> None:
    assert PriorityPolicy().assign(tier(BATCH), INTERACTIVE, urgency_of(render(priority)), None) is priority


HEADERS = [
    ("u=0", 0, "the highest"),
    ("u=7", 7, "the lowest"),
    ("u=1, i", 1, "what browsers send"),
    ("i, u=5", 5, "in another order"),
    ("  u=5  ", 5, "spaces around it"),
    ("u=5\t,\ti", 5, "tabs around the comma"),
    ("u=1, u=6", 6, "the last of a key counts"),
    ("u=2;x=1;y", 2, "parameters are ignored"),
    ('a="u=1", u=4', 4, "a string that looks like it"),
    ("a=(1 2.5 tok;p=?1);q, b=:AA==:, c=@12, u=2", 2, "every type of value beside it"),
    ('a=%"caf%c3%a9", u=2', 2, "a display string beside it"),
    ("i", None, "it asks for no urgency"),
    ("", None, "nothing"),
    ("u=8", None, "out of range"),
    ("u=-1", None, "below the range"),
    ("u=3.0", None, "a decimal"),
    ('u="3"', None, "a string"),
    ("u=?1", None, "a boolean"),
    ("u", None, "a key alone is true"),
    ("u=(1)", None, "a list"),
    ("u=1,", None, "a comma at the end"),
    (",u=1", None, "a comma at the start"),
    ("u=1 i", None, "no comma"),
    ("u = 1", None, "spaces around the equals sign"),
    ("U=1", None, "keys are lower case"),
    ("u=1, \x00", None, "a control character"),
    ('u=1, a="x', None, "a string without an end"),
    ("u=1, a=\u00e9", None, "a letter that is not ASCII"),
    ("u=\u0661", None, "a digit that is not ASCII"),
    ("u=1" + ", a" * 100, None, "longer than any honest one"),
]


@pytest.mark.parametrize(
    ("header", "expected"), [case[:2] for case in HEADERS], ids=[case[2] for case in HEADERS]
)
def test_a_priority_header_says(header: str, expected: int | None) -> None:
    assert urgency_of(header) == expected


@given(st.text(alphabet='ui=,; 0123456789.-?:"()%@\\a', max_size=256))
def test_any_text_is_an_urgency_or_none(header: str) -> None:
    assert urgency_of(header) in (None, *range(8))
