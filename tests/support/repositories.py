"""Writes the models of `tests/models` into a repository of the test's own, for a real Triton."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from stack import ROOT

_MODELS = ROOT / "tests" / "models"


def add_model(repository: Path, source: str, versions: Iterable[str], *, name: str | None = None) -> Path:
    """Writes `source` as the model `name` with these versions, which share their code. Answers its folder."""
    folder = repository / (name or source)
    folder.mkdir(parents=True)
    config = (_MODELS / source / "config.pbtxt").read_text()
    (folder / "config.pbtxt").write_text(config.replace(f'name: "{source}"', f'name: "{folder.name}"', 1))
    for version in versions:
        (folder / version).mkdir()
        shutil.copy(_MODELS / source / "model.py", folder / version)
    return folder
