"""Bars as PNG, drawn by Pillow: a row a contestant, stacked where its parts are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Parts = Mapping[str, float]
"""Lengths of the pieces of one bar, by the name of the part."""

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 1100, 34, 300, 110, 84
_COLOURS = ("#2f6f4f", "#e0a030", "#5b7db1", "#b0563f")
_INK, _PAPER, _FAINT = "#222222", "#ffffff", "#777777"


def bars(path: Path, title: str, unit: str, rows: Mapping[str, Parts], parts: Sequence[str]) -> None:
    """Draws the rows from top to bottom; `parts` says the order of the pieces, and what the legend names."""
    height = _TOP + _ROW * len(rows) + 16
    image = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((16, 12), title, _INK, _font(22))
    _legend(draw, parts)
    most = max((sum(row.values()) for row in rows.values()), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    for number, (name, row) in enumerate(rows.items()):
        _bar(draw, _TOP + _ROW * number, name, [row.get(part, 0.0) for part in parts], scale, unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(64).save(path, optimize=True)


def _legend(draw: ImageDraw.ImageDraw, parts: Sequence[str]) -> None:
    if len(parts) < 2:
        return
    x = 16.0
    for part, colour in zip(parts, _COLOURS, strict=False):
        draw.rectangle((x, 52, x + 14, 66), colour)
        draw.text((x + 20, 50), part, _INK, _font(15))
        x += 44 + draw.textlength(part, _font(15))


def _bar(
    draw: ImageDraw.ImageDraw, top: float, name: str, pieces: Sequence[float], scale: float, unit: str
) -> None:
    draw.text((_LEFT - 10, top + 4), name, _INK, _font(16), anchor="ra")
    x = float(_LEFT)
    for piece, colour in zip(pieces, _COLOURS, strict=False):
        if piece > 0:
            draw.rectangle((x, top, x + piece * scale, top + _ROW - 10), colour)
        x += piece * scale
    draw.text((x + 6, top + 4), f"{sum(pieces):,.{_digits(sum(pieces))}f} {unit}", _FAINT, _font(15))


def _digits(value: float) -> int:
    return 1 if value < 100 else 0


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    return ImageFont.load_default(size)
