"""docs/doctor.md lists every kind of finding."""

import re

from stack import ROOT


def test_every_code_stands_on_the_page_and_the_page_has_no_other() -> None:
    made: set[str] = set()
    for path in (ROOT / "gateway" / "doctor").glob("*.py"):
        made |= set(re.findall(r'^ +"((?:[a-z]+-)+[a-z]+)",$', path.read_text(), re.MULTILINE))
        made |= set(
            re.findall(r'(?:error|warning|made)\(\s*"?[^\n]*?"((?:[a-z]+-)+[a-z]+)",', path.read_text())
        )
    table = (ROOT / "docs" / "doctor.md").read_text().split("## What it looks for")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)} == made | {"reachable"}
