"""The tiers that are there without a file, as docs/access.md tells them, and issuers that could not be told apart."""

from pathlib import Path

import pytest
from stack import ROOT

from gateway.access_file import BUILT_IN, AccessFileError, issuers_of
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


def two_issuers(folder: Path, audience: str) -> Path:
    """Of one address: `web` for the audience web, and `batch` for `audience`."""
    path = folder / "access.toml"
    example = PAGE.split("```toml\n")[1].split("```")[0]
    tiers, _, issuer = example.partition("[issuers.corp]")
    tables = (
        f"[issuers.{name}]" + issuer.replace('"gateway"', f'"{told}"')
        for name, told in (("web", "web"), ("batch", audience))
    )
    path.write_text("\n".join([tiers, *tables]))
    return path


def test_one_address_may_stand_in_two_tables_with_an_audience_each(tmp_path: Path) -> None:
    assert [issuer.audience for issuer in issuers_of(two_issuers(tmp_path, "batch"))] == ["web", "batch"]


def test_two_tables_that_mean_the_same_tokens_are_refused_by_name(tmp_path: Path) -> None:
    path = two_issuers(tmp_path, "web")
    with pytest.raises(AccessFileError) as refused:
        issuers_of(path)
    assert str(refused.value) == f"{path}: issuers.web and issuers.batch: one url and one audience for both"
