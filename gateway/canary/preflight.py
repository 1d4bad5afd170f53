"""What is asked of the live Triton before a version gets traffic: the versions, their tensors, and real answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.catalog import Card, Catalog, ModelCard, Passthrough, Tokenization
from gateway.catalog.policy import kept
from gateway.domain import Content
from gateway.errors import GatewayError, InputError
from gateway.translate import signature
from gateway.translate.image import sample
from gateway.translate.tensors import InferRequest, parse

_GOLDEN_FOLDER = "golden"
_MOST_GOLDEN = 32  # inputs a model
_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_TEXTS = frozenset({".txt"})
_REQUESTS = frozenset({".json"})
_SAMPLE_TEXT = "The quick brown fox jumps over the lazy dog."
_ANY_SIZE = (64, 64)  # of a picture for a model that sees to sizes itself


@dataclass(frozen=True, slots=True)
class Check:
    """One question to Triton, and the answer to it in words for the operator."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What a version made of some inputs: one result or error an input, and the shape and datatype of its output."""

    results: Sequence[object]
    shape: tuple[int, ...]
    datatype: str


class Prober(Protocol):
    """Answers with exactly this version, on the path that requests take. Both raise GatewayError."""

    async def probe(self, card: ModelCard, version: str, inputs: Sequence[Content]) -> Probe: ...

    async def try_out(self, card: Card, version: str, asked: InferRequest) -> None: ...


class GoldenInputs:
    """The files that a model's folder carries in `golden/`; none where the folder is not known here.

    Images or texts, as the model takes them; requests of the Open Inference Protocol for one without a task.
    """

    def __init__(self, repository: Path | None) -> None:
        self._repository = repository

    def of(self, card: ModelCard) -> Mapping[str, Content]:
        """File names and contents, in order of the names; at most 32. Raises OSError."""
        if isinstance(card.encoding, Tokenization):
            return {path.name: path.read_text("utf-8", "replace") for path in self._files(card, _TEXTS)}
        return {path.name: path.read_bytes() for path in self._files(card, _IMAGES)}

    def requests(self, card: Card) -> Mapping[str, bytes]:
        """The same of requests in JSON. Raises OSError."""
        return {path.name: path.read_bytes() for path in self._files(card, _REQUESTS)}

    def _files(self, card: Card, suffixes: frozenset[str]) -> Sequence[Path]:
        if self._repository is None:
            return []
        folder = self._repository / card.name / _GOLDEN_FOLDER
        return sorted(path for path in folder.glob("*") if path.suffix.lower() in suffixes)[:_MOST_GOLDEN]


class Preflight:
    """Asks Triton itself; nothing is believed from earlier."""

    def __init__(self, catalog: Catalog, prober: Prober, golden: GoldenInputs) -> None:
        self._catalog = catalog
        self._prober = prober
        self._golden = golden

    async def run(self, model: str, stable: str, canary: str) -> list[Check]:
        """Every check that could be made, in order; the later ones need the earlier ones.

        Raises ModelNotFound, and UpstreamError where Triton cannot be asked.
        """
        await self._catalog.refresh()
        card = self._catalog.named(model)
        checks = [_loaded(card, version) for version in (stable, canary)]
        if not all(check.passed for check in checks):
            return checks
        checks.append(_policy("the version policy keeps both", card, (stable, canary)))
        if not isinstance(card, ModelCard):
            return checks + await self._requests_answered(card, (stable, canary))
        warm = [
            await self._answers(card, version, {"warm-up": _sample(card)}) for version in (stable, canary)
        ]
        checks += [check for check, _ in warm]
        checks.append(_same_outputs(*(probe for _, probe in warm)))
        return checks + await self._golden_answers(card, canary)

    async def alone(self, model: str, version: str) -> list[Check]:
        """The same of a version that shall answer everybody; it need not be like the one before. Raises as `run`."""
        await self._catalog.refresh()
        card = self._catalog.named(model)
        loaded = _loaded(card, version)
        if not loaded.passed:
            return [loaded]
        policy = _policy("the version policy keeps it", card, (version,))
        if not isinstance(card, ModelCard):
            return [loaded, policy, *await self._requests_answered(card, (version,))]
        warm, _ = await self._answers(card, version, {"warm-up": _sample(card)})
        return [loaded, policy, warm, *await self._golden_answers(card, version)]

    async def _golden_answers(self, card: ModelCard, version: str) -> list[Check]:
        try:
            golden = self._golden.of(card)
        except OSError as error:
            return [_unreadable(error)]
        return [(await self._answers(card, version, golden))[0]] if golden else []

    async def _requests_answered(self, card: Card, versions: Sequence[str]) -> list[Check]:
        """What a model without a task takes, nobody but its owner knows."""
        try:
            golden = self._golden.requests(card)
        except OSError as error:
            return [_unreadable(error)]
        if not golden:
            return [Check("the versions answer", passed=True, detail="not asked: golden/ has no requests")]
        return [await self._answers_requests(card, version, golden) for version in versions]

    async def _answers_requests(self, card: Card, version: str, golden: Mapping[str, bytes]) -> Check:
        wrong = []
        for file, body in golden.items():
            try:
                asked = parse(body, None)
                signature.check(asked, card.served)
                await self._prober.try_out(card, version, asked)
            except GatewayError as error:
                wrong.append(f"{file}: {error.code}: {error.internal or error}")
        name = f"version {version} answers {len(golden)} golden requests"
        return Check(name, not wrong, "; ".join(wrong) or "every answer is valid")

    async def _answers(
        self, card: ModelCard, version: str, inputs: Mapping[str, Content]
    ) -> tuple[Check, Probe | None]:
        what = "warm-up" if "warm-up" in inputs else f"{len(inputs)} golden inputs"
        name = f"version {version} answers {what}"
        try:
            probe = await self._prober.probe(card, version, list(inputs.values()))
        except GatewayError as error:
            return Check(name, passed=False, detail=f"{error.code}: {error.internal or error}"), None
        wrong = [
            f"{file}: {result}"
            for file, result in zip(inputs, probe.results, strict=True)
            if isinstance(result, InputError)
        ]
        return Check(name, not wrong, "; ".join(wrong) or "every answer is valid"), probe


def _unreadable(error: OSError) -> Check:
    return Check("the golden inputs can be read", passed=False, detail=str(error))


def _sample(card: ModelCard) -> Content:
    """An input that the model can take, always the same."""
    encoding = card.encoding
    if isinstance(encoding, Tokenization):
        return _SAMPLE_TEXT
    return (
        sample(*_ANY_SIZE) if isinstance(encoding, Passthrough) else sample(encoding.width, encoding.height)
    )


def _loaded(card: Card, version: str) -> Check:
    served = card.served.versions
    passed = version in served
    return Check(f"version {version} is loaded", passed, f"ready are: {', '.join(served)}")


def _policy(name: str, card: Card, versions: Sequence[str]) -> Check:
    """Versions that are ready now and not in the policy would be gone with the next reload."""
    policy = card.served.version_policy
    return Check(name, kept(policy, card.served.versions).issuperset(versions), policy)


def _same_outputs(stable: Probe | None, canary: Probe | None) -> Check:
    name = "both versions answer alike"
    if stable is None or canary is None:
        return Check(name, passed=False, detail="one of them does not answer")
    seen = [f"{probe.datatype}{list(probe.shape)}" for probe in (stable, canary)]
    return Check(name, seen[0] == seen[1], " and ".join(seen))
