"""Draws the two sample pictures that the documentation sends, of held-out digits, picked for being easy to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from digits import draw_picture, load_split
from PIL import Image
from scenes import make_scene

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "samples"
#: The fourth held-out seven, and the seventh scene of its seed.
DIGIT, DIGIT_ORDINAL, DIGIT_SIDE, DIGIT_SEED = 7, 3, 160, [60, 0]
SCENE_SIZE, SCENE_SEED = (640, 480), [61, 6]


def main() -> None:
    """Write digit.png and scene.jpg."""
    held_out = load_split("held_out")
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = int(np.flatnonzero(held_out.labels == DIGIT)[DIGIT_ORDINAL])
    picture = draw_picture(held_out, index, DIGIT_SIDE, DIGIT_SIDE, dark=True, seed=DIGIT_SEED)
    Image.fromarray(picture).save(FOLDER / "digit.png", optimize=True)
    scene = make_scene(held_out, SCENE_SEED, *SCENE_SIZE)
    Image.fromarray(scene.image).save(FOLDER / "scene.jpg", quality=92)


if __name__ == "__main__":
    main()
