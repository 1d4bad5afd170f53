"""A classifier on the real Triton whose versions fail in known ways, to rehearse a rollout on.

The model names the brightest of ten columns; `picture` draws for it. Which version behaves in which manner is the
test's choice, so the same folder serves a canary that is sound and one that is not.
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from PIL import Image
from support.pictures import encoded
from support.repositories import add_model

LABELS = 10
SHIFT = 3  # of the labels of a shuffled version
FAILING_SHARE = 0.1

_SIZE = (LABELS, 4)  # what the model takes: nothing is resized
_FATAL_GRAY = 13


class Manner(StrEnum):
    """How a version behaves."""

    SOUND = "sound"
    FAILING = "failing"  # every tenth call, counted from its load, is an error
    SLOW = "slow"  # 40 ms a batch in place of 10
    SHUFFLED = "shuffled"  # answers in time, without an error, and wrong
    MORTAL = "mortal"  # its process ends on `fatal_picture`
    NARROW = "narrow"  # nine scores for ten labels
    UNLOADABLE = "unloadable"


EVERY_MANNER: Mapping[str, Manner] = {
    "1": Manner.SOUND,
    "2": Manner.SOUND,
    "3": Manner.FAILING,
    "4": Manner.SLOW,
    "5": Manner.SHUFFLED,
    "6": Manner.MORTAL,
    "7": Manner.NARROW,
}


def repository(folder: Path, versions: Mapping[str, Manner] = EVERY_MANNER) -> Path:
    """A repository in `folder` with the one model `rehearsal`."""
    add_rehearsal(folder, "rehearsal", versions)
    return folder


def add_rehearsal(repository: Path, name: str, versions: Mapping[str, Manner]) -> Path:
    """Adds a model with these versions. Answers its folder.

    One version that is unloadable at the start keeps the others from loading; see `add_version`.
    """
    folder = add_model(repository, "rehearsal", versions, name=name)
    for version, manner in versions.items():
        _assign(folder, version, manner)
    return folder


def add_version(folder: Path, version: str, manner: Manner) -> None:
    """Adds a version to a model that is there; Triton has to be told to load the model again."""
    code = next(folder.glob("*/model.py")).read_text()
    (folder / version).mkdir()
    (folder / version / "model.py").write_text(code)
    _assign(folder, version, manner)


def touch(folder: Path, version: str) -> None:
    """Makes Triton replace the model's processes at the next load, and the versions serve meanwhile.

    At a load of files that have not changed it keeps what it has, dead processes too.
    """
    os.utime(folder / version / "model.py")


def picture(label: int) -> bytes:
    """A PNG that a sound version takes for `label`."""
    image = Image.new("L", _SIZE, 40)
    image.paste(200, (label, 0, label + 1, _SIZE[1]))
    return encoded(image)


def fatal_picture() -> bytes:
    """A PNG that a mortal version dies of, and that others answer."""
    return encoded(Image.new("L", _SIZE, _FATAL_GRAY))


def _assign(folder: Path, version: str, manner: Manner) -> None:
    with (folder / "config.pbtxt").open("a") as config:
        config.write(f'parameters {{ key: "version.{version}" value: {{ string_value: "{manner}" }} }}\n')
