"""The soak in short: it runs, everybody is answered as they should be, and what callers took is given back."""

from collections.abc import Callable
from pathlib import Path

from processes import running_stack
from soak import report, soak
from stack import ROOT

SECONDS = 20.0


async def test_a_soak_of_seconds_leaves_no_descriptor_behind(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    lines: list[str] = []
    for model in ("digits_classifier", "digits_detector"):
        (tmp_path / model).symlink_to(ROOT / "model_repository" / model)
    with running_stack(tmp_path, workers=2) as stack:
        found = await soak(stack, SECONDS / 60, every=6.0)
    assert report(found, SECONDS / 60, say=lines.append)
    assert found.before is not None
    assert found.after is not None
    figure(f"soak of {SECONDS:.0f} s: {dict(found.outcomes)}; {dict(found.faults)}")
    assert found.faults.total() >= 2
    assert len(found.samples) > 3
    assert found.after.callers == 0
    assert found.before.shared > 0
    assert found.after.redis <= found.before.redis + 30  # connections that are kept for later
    assert not [outcome for outcome in found.outcomes if ": 500" in outcome or "Error" in outcome]
    assert {outcome for outcome in found.outcomes if outcome.startswith("a broken")} == {
        "a broken picture: 422 image_truncated"
    }
    assert found.outcomes["classify: 200"] > 10
