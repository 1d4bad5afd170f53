"""Draws the two sample pictures that the documentation sends, picked for being easy to read, and the golden inputs
that a canary has to answer before it gets traffic; all of held-out digits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from digits import draw_picture, load_split
from PIL import Image
from scenes import make_scene

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "clients" / "samples"
#: The fourth held-out seven, and the seventh scene of its seed.
DIGIT, DIGIT_ORDINAL, DIGIT_SIDE, DIGIT_SEED = 7, 3, 160, [60, 0]
SCENE_SIZE, SCENE_SEED = (640, 480), [61, 6]
GOLDEN_SCENES, GOLDEN_SEED = 3, 62


def main() -> None:
    """Write digit.png and scene.jpg, and golden/ of both models."""
    held_out = load_split("held_out")
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = int(np.flatnonzero(held_out.labels == DIGIT)[DIGIT_ORDINAL])
    picture = draw_picture(held_out, index, DIGIT_SIDE, DIGIT_SIDE, dark=True, seed=DIGIT_SEED)
    Image.fromarray(picture).save(FOLDER / "digit.png", optimize=True)
    scene = make_scene(held_out, SCENE_SEED, *SCENE_SIZE)
    Image.fromarray(scene.image).save(FOLDER / "scene.jpg", quality=92)
    for digit in range(10):
        index = int(np.flatnonzero(held_out.labels == digit)[0])
        golden = draw_picture(held_out, index, 48, 48, dark=True, seed=[GOLDEN_SEED, digit])
        Image.fromarray(golden).save(golden_folder("digits_classifier") / f"{digit}.png", optimize=True)
    for number in range(GOLDEN_SCENES):
        golden = make_scene(held_out, [GOLDEN_SEED, number], *SCENE_SIZE).image
        Image.fromarray(golden).save(golden_folder("digits_detector") / f"{number}.jpg", quality=85)


def golden_folder(model: str) -> Path:
    """Made where it is missing."""
    folder = ROOT / "model_repository" / model / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
