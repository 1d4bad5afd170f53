"""Names from the CLDR data that the Babel package carries, split by territory: the data of languages_bert.

What is held out is held out in every language: no text of the training split contains any name of a held-out
territory, as a word of its own (anywhere at all in Chinese and Japanese, which write no spaces).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from babel import Locale

#: The classes, as BCP 47 tags in the order of their ids.
LABELS = (
    *("ar", "cs", "de", "el", "en", "es", "fi", "fr", "hu", "it"),
    *("ja", "nl", "pl", "pt", "ru", "sv", "tr", "uk", "vi", "zh"),
)

#: They write no spaces between words, so a name counts wherever its characters stand.
_UNSPACED = frozenset({"ja", "zh"})

#: Codes that name no one territory: pseudo-locales, "unknown", and unions of many territories.
_NO_TERRITORIES = frozenset({"XA", "XB", "ZZ", "EU", "EZ", "UN", "QO"})

#: Shorter texts say little about a language: "kg", a letter of a script.
_SHORTEST = 2

_PLURALS = ("zero", "one", "two", "few", "many", "other")

Split = Literal["train", "validation", "held_out"]


@dataclass(frozen=True)
class Text:
    """A text, and every label whose language writes it just so (a few names are the same in several)."""

    text: str
    label: int
    right: frozenset[int]


@cache
def territories() -> tuple[str, ...]:
    """The codes of the territories that have a name in every language, in order."""
    codes = set.intersection(*(set(Locale.parse(label).territories) for label in LABELS))
    return tuple(
        sorted(code for code in codes if len(code) == 2 and code.isalpha() and code not in _NO_TERRITORIES)
    )


def split_of(index: int) -> Split:
    """The split of territory `index`: every fifth is held out, every tenth chooses between trainings."""
    if index % 5 == 0:
        return "held_out"
    return "validation" if index % 10 == 1 else "train"


@cache
def names(split: Split) -> tuple[Text, ...]:
    """The names of the split's territories in every language, once for each language and territory."""
    found = []
    for index, code in enumerate(territories()):
        if split_of(index) == split:
            named = [Locale.parse(label).territories[code] for label in LABELS]
            found += [_text(name, label, named) for label, name in enumerate(named)]
    return tuple(found)


def _text(name: str, label: int, named: list[str]) -> Text:
    same = {other for other, text in enumerate(named) if text.casefold() == name.casefold()}
    return Text(name, label, frozenset(same))


@cache
def lists(split: Split, count: int, seed: int) -> tuple[Text, ...]:
    """As many lists of `count` names of one language as the split has names: "France, Japan, Peru"."""
    rng = np.random.default_rng(seed)
    by_label: list[list[str]] = [[] for _ in LABELS]
    for text in names(split):
        by_label[text.label].append(text.text)
    return tuple(
        Text(
            ", ".join(rng.choice(by_label[text.label], count, replace=False)),
            text.label,
            frozenset({text.label}),
        )
        for text in names(split)
    )


@cache
def training_texts(kept_out: tuple[Split, ...]) -> tuple[tuple[str, ...], ...]:
    """For each label what its language has: names of territories, languages, scripts, currencies, time zones and
    units, of months and days; without any text that contains a name of a territory of the splits `kept_out`."""
    spaced, unspaced = _patterns([text for split in kept_out for text in names(split)])
    texts = []
    for label in LABELS:
        every = sorted(set(_everything(Locale.parse(label))))
        texts.append(
            tuple(text for text in every if not (spaced.search(text.casefold()) or unspaced.search(text)))
        )
    return tuple(texts)


def _patterns(kept_out: Collection[Text]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    unspaced = {text.text for text in kept_out if LABELS[text.label] in _UNSPACED}
    spaced = {text.text.casefold() for text in kept_out if LABELS[text.label] not in _UNSPACED}
    return (
        re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(spaced)))})(?!\w)"),
        re.compile("|".join(map(re.escape, sorted(unspaced)))),
    )


def _everything(locale: Locale) -> Iterator[str]:
    named: tuple[Mapping[str, str], ...] = (
        {code: locale.territories[code] for code in territories()},
        locale.languages,
        locale.scripts,
        locale.variants,
        locale.currencies,
        locale.months["format"]["wide"],
        locale.days["format"]["wide"],
        *(zone.get("long", {}) for zone in locale.meta_zones.values()),
        *_plurals(locale),
    )
    for mapping in named:
        for text in mapping.values():
            if isinstance(text, str) and len(found := re.sub(r"\{\d\}", "", text).strip()) >= _SHORTEST:
                yield found


def _plurals(locale: Locale) -> Iterator[Mapping[str, str]]:
    """Names of currencies and units in each form that numbers ask for: "{0} Kilometer", "Andorranische Peseten"."""
    data: Any = locale._data  # noqa: SLF001  # Babel offers them one at a time only, already with a number
    yield from data["currency_names_plural"].values()
    for lengths in data["unit_patterns"].values():
        forms = lengths.get("long", {})
        yield {form: forms[form] for form in _PLURALS if form in forms}
