"""Trains digits_classifier, versions 1 and 2, and writes them into the model repository."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import onnx_file
import torch
from digits import Samples, draw_picture, load_split
from preprocess import CLASSIFIER_SIDE, classifier_tensor
from torch import nn

SEED = 20

#: Drawings of the validation digits, numbered beyond any epoch's.
VALIDATION_DRAWS = range(10_000, 10_004)


@dataclass(frozen=True)
class Recipe:
    """One version: channels of the three stages, passes over the digits, and the best learning rate."""

    channels: tuple[int, int, int]
    epochs: int
    learning_rate: float


RECIPES = {1: Recipe((8, 16, 24), 10, 4e-3), 2: Recipe((24, 48, 96), 60, 2e-3)}


class DigitsClassifier(nn.Module):
    """UINT8 [batch, 1, 32, 32] gray to logits FP32 [batch, 10]."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = channels
        self.stages = nn.Sequential(
            _stage(1, first), nn.MaxPool2d(2), _stage(first, second), nn.MaxPool2d(2), _stage(second, third)
        )
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(third * 16, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.float()
        # Contrast and brightness say nothing about the digit, so each picture is brought to mean 0, deviation 1.
        centred = pixels - pixels.mean(dim=(2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        logits: torch.Tensor = self.head(self.stages(centred / (deviation + 1.0)))
        return logits


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def render(samples: Samples, draw: int) -> torch.Tensor:
    """Every digit of `samples` drawn anew, as the network sees it: UINT8 [n, 1, 32, 32]."""
    pictures = []
    for index in range(len(samples)):
        rng = np.random.default_rng([SEED, draw, index])
        height = int(rng.integers(28, 201))
        width = int(np.clip(height * rng.uniform(0.8, 1.25), 28, 200))
        dark = bool(rng.random() < 0.5)
        picture = draw_picture(samples, index, height, width, dark, [SEED, draw, index, 1])
        pictures.append(classifier_tensor(picture))
    return torch.from_numpy(np.stack(pictures))


def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of `images` whose best class is right."""
    network.eval()
    with torch.inference_mode():
        return float((network(images).argmax(dim=1) == labels).float().mean())


def train(recipe: Recipe) -> tuple[DigitsClassifier, float]:
    """A trained network and its accuracy on the validation digits."""
    torch.manual_seed(SEED)
    digits, validation = load_split("train"), load_split("validation")
    labels = torch.from_numpy(digits.labels)
    network = DigitsClassifier(recipe.channels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.05)
    batches = -(-len(digits) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * batches
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(recipe.epochs):
        images = render(digits, epoch)
        network.train()
        for chosen in torch.randperm(len(digits)).split(64):
            optimizer.zero_grad()
            loss_of(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    draws = torch.cat([render(validation, draw) for draw in VALIDATION_DRAWS])
    score = accuracy(network, draws, torch.from_numpy(validation.labels).repeat(len(VALIDATION_DRAWS)))
    return network, score


def main() -> None:
    """Train the chosen versions and write their ONNX files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--version", type=int, choices=RECIPES, action="append", help="default: every version"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    for version in arguments.version or RECIPES:
        started = time.monotonic()
        network, score = train(RECIPES[version])
        shape = (1, CLASSIFIER_SIDE, CLASSIFIER_SIDE)
        path = onnx_file.write(network, shape, "logits", "digits_classifier", version)
        seconds = time.monotonic() - started
        size = path.stat().st_size
        print(f"digits_classifier {version}: validation {score:.2%}, {size} bytes, {seconds:.0f} s")


if __name__ == "__main__":
    main()
