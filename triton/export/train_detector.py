"""Trains digits_detector, versions 1 and 2, on synthetic scenes and writes them into the model repository."""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import onnx_file
import torch
from detector import DigitsDetector, Widths
from detector_loss import Targets, loss
from digits import load_split
from measure import Detections, Truth, best_min_score, decode, mean_average_precision
from preprocess import DETECTOR_SIDE, letterbox
from scenes import MOST_DIGITS, Scene, make_scene
from torch.utils.data import DataLoader, Dataset

SEED = 40
BATCH = 16
VALIDATION_SCENES = 200
VALIDATE_EVERY = 250

#: Share of training scenes that are not square and so carry letterbox borders.
BORDERED = 0.2


@dataclass(frozen=True)
class Recipe:
    """One version: its channels, the training steps of 16 scenes each, and the highest learning rate."""

    widths: Widths
    steps: int
    learning_rate: float


RECIPES = {
    1: Recipe(Widths(8, 16, 24, 32, 48, 32), 1000, 4e-3),
    2: Recipe(Widths(16, 32, 64, 96, 96, 64), 2500, 4e-3),
}


class Validation(NamedTuple):
    """mAP@0.5, the score limit with the best F1, and that F1."""

    precision: float
    min_score: float
    f1: float


class Scenes(Dataset[tuple[torch.Tensor, Targets]]):
    """Training scenes by number, each made from its own seed: UINT8 [3, 320, 320] and padded targets."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._digits = load_split("train")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Targets]:
        rng = np.random.default_rng([SEED, index])
        width, height = DETECTOR_SIDE, DETECTOR_SIDE
        if rng.random() < BORDERED:
            side = int(rng.integers(240, 640))
            width, height = (side, int(side * 0.75)) if rng.random() < 0.5 else (int(side * 0.75), side)
        scene = make_scene(self._digits, [SEED, index, 1], width, height)
        box = letterbox(scene.image)
        return torch.from_numpy(box.tensor), _padded(box.to_tensor(scene.boxes), scene.classes)


def _padded(boxes: np.ndarray, classes: np.ndarray) -> Targets:
    count = len(classes)
    padded_boxes, padded_classes = torch.zeros(MOST_DIGITS, 4), torch.zeros(MOST_DIGITS, dtype=torch.long)
    padded_boxes[:count] = torch.from_numpy(boxes)
    padded_classes[:count] = torch.from_numpy(classes)
    return Targets(padded_boxes, padded_classes, torch.arange(MOST_DIGITS) < count)


class Average:
    """An exponential moving average of a network's weights, which is what gets exported."""

    def __init__(self, network: DigitsDetector) -> None:
        self.network = copy.deepcopy(network).eval()
        self._updates = 0

    def update(self, network: DigitsDetector) -> None:
        """Move a little towards `network`; faster at first, when its weights still mean nothing."""
        self._updates += 1
        keep = min(0.998, self._updates / (self._updates + 50))
        with torch.no_grad():
            for mine, theirs in zip(
                self.network.state_dict().values(), network.state_dict().values(), strict=True
            ):
                if mine.dtype.is_floating_point:
                    mine.lerp_(theirs, 1 - keep)
                else:
                    mine.copy_(theirs)


def train(recipe: Recipe) -> DigitsDetector:
    """Train one version, printing validation figures now and then."""
    torch.manual_seed(SEED)
    network = DigitsDetector(recipe.widths).to(memory_format=torch.channels_last)
    average = Average(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    started = time.monotonic()
    for step, (images, targets) in enumerate(_batches(recipe.steps), 1):
        network.train()
        optimizer.zero_grad()
        raw = network.raw(images.contiguous(memory_format=torch.channels_last))
        current = loss(raw, Targets(*targets), network.centres)
        current.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        average.update(network)
        if step % VALIDATE_EVERY == 0:
            score = validate(average.network).precision
            seconds = time.monotonic() - started
            figures = f"loss {current.item():.3f}, validation mAP@0.5 {score:.2%}, {seconds:.0f} s"
            print(f"step {step}: {figures}", flush=True)
    return average.network


def _batches(steps: int) -> Iterator[tuple[torch.Tensor, Targets]]:
    return iter(DataLoader(Scenes(steps * BATCH), BATCH, num_workers=1, prefetch_factor=8))


@cache
def _validation_scenes() -> list[Scene]:
    digits = load_split("validation")
    return [make_scene(digits, [SEED + 1, index]) for index in range(VALIDATION_SCENES)]


def validate(network: DigitsDetector) -> Validation:
    """How good `network` is on scenes made of validation digits only."""
    scenes = _validation_scenes()
    batches = [scenes[start : start + BATCH] for start in range(0, len(scenes), BATCH)]
    found = [detections for batch in batches for detections in _detect(network, batch)]
    truth = [Truth(scene.boxes, scene.classes) for scene in scenes]
    return Validation(mean_average_precision(found, truth), *best_min_score(found, truth))


def _detect(network: DigitsDetector, scenes: list[Scene]) -> list[Detections]:
    images = torch.from_numpy(np.stack([letterbox(scene.image).tensor for scene in scenes]))
    with torch.inference_mode():
        answers = network.eval()(images.contiguous(memory_format=torch.channels_last))
    return [decode(answer, 0.001, 0.5, 100) for answer in answers.numpy()]


def main() -> None:
    """Train the chosen versions and write their ONNX files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--version", type=int, choices=RECIPES, action="append", help="default: every version"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    # Assignment weights fade into denormal numbers, on which a CPU computes many times slower.
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    for version in arguments.version or RECIPES:
        started = time.monotonic()
        network = train(RECIPES[version])
        shape = (3, DETECTOR_SIDE, DETECTOR_SIDE)
        path = onnx_file.write(network, shape, "detections", "digits_detector", version)
        seconds = time.monotonic() - started
        score = validate(network)
        print(
            f"digits_detector {version}: validation mAP@0.5 {score.precision:.2%}, best F1 {score.f1:.2%}",
            end=" ",
        )
        print(f"at min_score {score.min_score:.2f}, {path.stat().st_size} bytes, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
