"""The tiers that are there without a file, as docs/access.md tells them."""

from stack import ROOT

from gateway.access_file import BUILT_IN
from gateway.domain import Quota, Tier

PAGE = (ROOT / "docs" / "access.md").read_text()


def row(tier: Tier) -> str:
    cells = [
        f"`{tier.name}`",
        amount(tier.key),
        amount(tier.tenant),
        "any" if tier.daily is None else f"{tier.daily:,}",
        f"{tier.in_flight}",
        tier.priority.name.lower(),
        "a share" if tier.fail_open else "refused",
    ]
    return f"| {' | '.join(cells)} |"


def amount(quota: Quota) -> str:
    return f"{quota.limit:,} in {quota.period:g} s, {quota.burst:,} at once"


def test_the_built_in_tiers_stand_in_the_documentation_as_they_are() -> None:
    table = PAGE.split("These tiers are built in:\n\n")[1].split("\n\n")[0]
    assert table.splitlines()[2:] == [row(tier) for tier in BUILT_IN.values()]
