"""A live view shows what came, and says when nothing comes."""

from io import StringIO
from typing import Any

from rich.console import Console
from unit.cli.routes import STEPS, report, route, side

from gateway.cli.canary.board import Board, lines, status, table
from gateway.cli.canary.feed import Connected, Lost, ServerEvent
from gateway.cli.canary.wording import NOTHING


def board(*items: Any, only: str | None = None, at: float = 100.0) -> Board:
    made = Board(only)
    for item in (Connected(), *items):
        made = made.after(item, at)
    return made


def drawn(shown: Board, now: float = 100.0) -> str:
    out = StringIO()
    Console(file=out, width=170, force_terminal=True, color_system=None).print(table(shown, now))
    return out.getvalue()


ROUTE, REPORT = ServerEvent("route", route()), ServerEvent("report", report())


def test_a_frame_has_a_line_for_each_version_with_its_figures() -> None:
    rows = drawn(board(ROUTE, REPORT)).splitlines()
    assert rows[2].split() == [
        "pets",
        "steady",
        "1",
        "95",
        "%",
        "1900",
        "2",
        "(0.11",
        "%)",
        "4.0",
        "ms",
        "9.5",
        "ms",
    ]
    assert rows[3].split()[:3] == ["2", "5", "%"]
    assert "100" in rows[3]
    assert "3 (3 %)" in rows[3]
    assert "96.15 % of 52" in rows[3]
    assert rows[-2].strip() == "pets: healthy: 3 % errors against 0.1 %."
    assert rows[-1].strip() == "Live."


def test_a_frame_fits_a_terminal_of_120_columns() -> None:
    running = route(model="digits_classifier", steps=STEPS, step=0, phase="progressing", weight=100)
    shown = board(ServerEvent("route", running), ServerEvent("report", report(model="digits_classifier")))
    assert all(len(row.rstrip()) <= 120 for row in drawn(shown).splitlines())


def test_a_route_without_a_canary_is_one_line_with_its_reason() -> None:
    alone = route(canary=None, weight=0, phase="promoted", reason="Version 2 took over.")
    rows = drawn(board(ServerEvent("route", alone))).splitlines()
    assert len(rows) == 5
    assert "promoted" in rows[2]
    assert "100 %" in rows[2]
    assert rows[3].strip() == "pets: Version 2 took over."


def test_a_plan_shows_its_step_and_a_lease_what_is_left() -> None:
    running = route(steps=STEPS, step=0, weight=100, phase="progressing", lease=90.2)
    assert "step 1/2, lease 1m30s" in drawn(board(ServerEvent("route", running)))


def test_figures_that_are_old_are_not_shown_as_present_ones() -> None:
    shown = board(ROUTE, REPORT)
    assert "1900" in drawn(shown, 104.0)
    assert "1900" not in drawn(shown, 106.0)


def test_a_stream_that_broke_off_is_told_until_it_goes_on() -> None:
    away = board(ROUTE, Lost("nobody answers"))
    assert "No news: nobody answers. Trying again." in drawn(away)
    assert "pets" in drawn(away)
    back = away.after(Connected(), 101.0)
    assert status(back) == "Live; connected again 1x."
    assert back.routes == {}


def test_only_the_model_that_is_watched_is_shown() -> None:
    other = ServerEvent("route", route(model="finder"))
    assert list(board(ROUTE, other, only="pets").routes) == ["pets"]
    assert list(board(ROUTE, other).routes) == ["pets", "finder"]


def test_events_of_another_kind_change_nothing() -> None:
    shown = board(ROUTE)
    assert shown.after(ServerEvent("news", {"model": "pets"}), 1.0) == shown
    assert shown.after(ServerEvent("route", {}), 1.0) == shown


def test_lines_say_the_same_without_a_terminal() -> None:
    assert lines(board(ROUTE, REPORT), 100.0) == [
        (
            "pets: steady; version 1 95 %, 1900 requests, 2 (0.11 %) errors, p50 4.0 ms, p95 9.5 ms; "
            "version 2 5 %, 100 requests, 3 (3 %) errors, p50 4.0 ms, p95 9.5 ms; agreement 96.15 % of 52; "
            "healthy: 3 % errors against 0.1 %."
        )
    ]
    assert lines(board(ROUTE), 100.0) == ["pets: steady; version 1 95 %; version 2 5 %; Set by hand to 5 %."]


def test_a_version_that_served_nobody_has_no_latency() -> None:
    quiet = ServerEvent("report", report(canary=side("2", 0), decision=None))
    assert (
        f"version 2 5 %, 0 requests, 0 (0 %) errors, p50 {NOTHING}, p95 {NOTHING}"
        in lines(board(ROUTE, quiet), 100.0)[0]
    )


def test_text_of_others_is_neither_markup_nor_a_command_to_the_terminal() -> None:
    text = drawn(board(ServerEvent("route", route(reason="[red]x[/red] \x1b[2J"))))
    assert "[red]x[/red] \ufffd[2J" in text
