"""What a live view of the routes knows, and how it looks: pure, from the events of the stream."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.canary.lifecycle import percent
from gateway.canary.route import Phase
from gateway.canary.split import FULL
from gateway.cli.admin_client import Document, printable
from gateway.cli.canary.feed import Connected, Item, Lost
from gateway.cli.canary.wording import NOTHING, agreement, decision, said, shown

_FRESH = 5.0  # seconds: figures come each second, and older ones are of another situation
_COLUMNS = (
    "model",
    "phase",
    "version",
    "weight",
    "requests",
    "errors",
    "p50",
    "p95",
    "agreement",
)
_STYLES = {
    Phase.PROGRESSING: "cyan",
    Phase.PAUSED: "yellow",
    Phase.ROLLED_BACK: "red",
    Phase.PROMOTED: "green",
}


@dataclass(frozen=True, slots=True)
class Board:
    """Routes and reports by model; a report with the moment of its arrival, in seconds of the reader's clock.

    `lost` says why nothing comes, `gaps` how often that was so.
    """

    only: str | None = None
    routes: Mapping[str, Document] = field(default_factory=dict)
    reports: Mapping[str, tuple[float, Document]] = field(default_factory=dict)
    lost: str = ""
    gaps: int = 0

    def after(self, item: Item, now: float) -> "Board":
        """The board with what came."""
        if isinstance(item, Connected):
            return replace(self, lost="", routes={})
        if isinstance(item, Lost):
            return replace(self, lost=item.why, gaps=self.gaps + 1)
        model = item.document.get("model")
        if model is None or self.only not in (None, model):
            return self
        if item.name == "route":
            return replace(self, routes={**self.routes, model: item.document})
        if item.name == "report":
            return replace(self, reports={**self.reports, model: (now, item.document)})
        return self

    def report(self, model: str, now: float) -> Document | None:
        """None where no report came for a while: old figures would pass for present ones."""
        at, found = self.reports.get(model, (now, None))
        return found if now - at <= _FRESH else None


def table(board: Board, now: float) -> Group:
    """One frame: a line for each version, a sentence on each model, and what keeps new ones from coming."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in _COLUMNS:
        made.add_column(column, overflow="fold")
    sentences = []
    for route in _routes(board):
        found = board.report(route["model"], now)
        for cells in _rows(route, found):
            made.add_row(*(Text(printable(cell), style=_style(route)) for cell in cells))
        if verdict := _verdict(route, found):
            sentences.append(Text(printable(f"{route['model']}: {verdict}"), style=_style(route)))
    return Group(made, *sentences, Text(status(board), style="yellow" if board.lost else "dim"))


def line(route: Document, report: Document | None) -> str:
    """A model without a terminal: everything on one line."""
    parts = [f"{route['model']}: {_phase(route)}"]
    for cells in _rows(route, report):
        version, weight, requests, errors, p50, p95 = cells[2:8]
        figures = f", {requests} requests, {errors} errors, p50 {p50}, p95 {p95}" if report else ""
        parts.append(f"version {version} {weight}{figures}")
    if report:
        parts.append(f"agreement {agreement(report['agreement'])}")
    parts.append(_verdict(route, report))
    return printable("; ".join(part for part in parts if part))


def lines(board: Board, now: float) -> list[str]:
    return [line(route, board.report(route["model"], now)) for route in _routes(board)]


def status(board: Board) -> str:
    """Whether the board is live."""
    if board.lost:
        return printable(f"No news: {board.lost}. Trying again.")
    return f"Live; connected again {board.gaps}x." if board.gaps else "Live."


def _routes(board: Board) -> list[Document]:
    return [board.routes[model] for model in sorted(board.routes)]


def _rows(route: Document, report: Document | None) -> Iterator[tuple[str, ...]]:
    """The stable version, and the canary where there is one."""
    canary, weight = route["canary"], route["weight"]
    stable = _cells(report, "stable")
    yield (route["model"], _phase(route), route["stable"], percent(FULL - weight), *stable)
    if canary:
        yield ("", _step(route), canary, percent(weight), *_cells(report, "canary"))


def _cells(report: Document | None, side: str) -> tuple[str, ...]:
    figures = shown(report[side]) if report else {}
    agreed = agreement(report["agreement"]) if report and side == "canary" else ""
    columns = (figures.get(name, NOTHING) for name in ("requests", "errors", "p50", "p95"))
    return (*columns, agreed)


def _phase(route: Document) -> str:
    return str(route["phase"]) + (", frozen" if route["frozen"] else "")


def _step(route: Document) -> str:
    parts = [f"step {route['step'] + 1}/{len(route['steps'])}"] if route["step"] >= 0 else []
    parts += [f"lease {said('lease', route['lease'])}"] if route["lease"] is not None else []
    return ", ".join(parts)


def _verdict(route: Document, report: Document | None) -> str:
    """What the guard says now; without that, how the route came to stand where it does."""
    return decision(report["decision"]) if report and report["decision"] else printable(route["reason"])


def _style(route: Document) -> str:
    return _STYLES.get(route["phase"], "")
