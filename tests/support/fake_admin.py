"""The administration of canaries as a command sees it: routes in memory, changed by the gateway's own transitions."""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.canary import lifecycle
from gateway.canary.lifecycle import RefusedChange
from gateway.canary.route import Route, to_document
from gateway.errors import ValidationFailed

Json = dict[str, Any]


class Problem(Exception):
    """An answer that is none of the good ones."""

    def __init__(self, status: int, code: str, title: str, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.document = {
            "type": f"/problems/{code}",
            "title": title,
            "status": status,
            "detail": detail,
            "instance": "/",
            "code": code,
            "request_id": "r1",
            **more,
        }


@dataclass(frozen=True)
class Call:
    """One request; `expected` is its If-Match."""

    method: str
    path: list[str]
    query: Mapping[str, list[str]]
    expected: str | None
    body: Json

    def required(self) -> None:
        if self.expected is None:
            raise Problem(428, "precondition_required", "Precondition required", "If-Match is missing.")


def side(version: str, requests: int = 100, errors: int = 0) -> Json:
    return {
        "version": version,
        "requests": requests,
        "errors": errors,
        "error_rate": errors / requests if requests else 0.0,
        "p50_ms": 4.0 if requests else None,
        "p95_ms": 9.5 if requests else None,
    }


def agreement(compared: int, agreed: int, **more: object) -> Json:
    return {
        "compared": compared,
        "agreed": agreed,
        "rate": agreed / compared if compared else None,
        "overlap": None,
        "score_drift": None,
        "failed": {},
        "dropped": {},
        "classes": {},
        "disagreements": [],
        **more,
    }


ACTIONS: Mapping[str, Callable[[Route, str], Route]] = {
    "promote": lambda route, _: lifecycle.promote(route, time.time()),
    "rollback": lambda route, reason: lifecycle.rollback(
        route, reason or "Rolled back by hand.", time.time()
    ),
    "pause": lambda route, _: lifecycle.pause(route, time.time()),
    "resume": lambda route, _: lifecycle.resume(route, time.time()),
    "abort": lambda route, _: lifecycle.abort(route, time.time()),
    "freeze": lambda route, _: lifecycle.freeze(route),
    "unfreeze": lambda route, _: lifecycle.unfreeze(route),
}


@dataclass
class FakeAdmin:
    """`before_change` is called when a change has come and is not yet made: a moment for somebody else's."""

    routes: dict[str, tuple[Route, int]] = field(default_factory=dict)
    undone: dict[str, Route] = field(default_factory=dict)
    log: list[Json] = field(default_factory=list)
    reports: dict[str, Json] = field(default_factory=dict)
    callers: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    failing_checks: list[str] = field(default_factory=list)
    before_change: Callable[[], None] = lambda: None
    _streams: list["queue.Queue[tuple[str, Json] | None]"] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def end_streams(self) -> None:
        with self._lock:
            for stream in self._streams:
                stream.put(None)
            self._streams.clear()

    def watchers(self) -> int:
        return len(self._streams)

    def generation(self, model: str) -> int:
        return self.standing(model)[1]

    def standing(self, model: str) -> tuple[Route, int]:
        try:
            return self.routes[model]
        except KeyError:
            raise Problem(404, "model_not_found", "Model not found", f"There is no model {model}.") from None

    def put(self, model: str, route: Route, action: str, actor: str = "key_ops", reason: str = "") -> Json:
        """Makes a change, as some operator's or the controller's."""
        with self._lock:
            before, generation = self.standing(model)
            self.routes[model] = (route, generation + 1)
            self.undone[model] = before
            self.log.insert(0, _event(model, generation + 1, (actor, action, reason), before, route))
        view = self.view(model)
        self.tell("route", view)
        return view

    def tell(self, name: str, document: Json) -> None:
        """To all who follow the stream."""
        with self._lock:
            for stream in self._streams:
                stream.put((name, document))

    @contextmanager
    def follower(self) -> Iterator["queue.Queue[tuple[str, Json] | None]"]:
        stream: queue.Queue[tuple[str, Json] | None] = queue.Queue()
        with self._lock:
            for model in self.routes:
                stream.put(("route", self.view(model)))
            self._streams.append(stream)
        try:
            yield stream
        finally:
            with self._lock:
                if stream in self._streams:
                    self._streams.remove(stream)

    def view(self, model: str) -> Json:
        route, generation = self.standing(model)
        fields = {name: value for name, value in asdict(route).items() if name != "salt"}
        fields["sticky"] = str(route.sticky)
        fields["lease"] = None if route.lease is None else round(route.lease - time.time(), 1)
        fields["since"] = _iso(route.since)
        fields["step_started_at"] = _iso(route.step_started_at) if route.step_started_at else None
        return {**fields, "generation": generation, "under_way": route.under_way, "unreadable": None}

    def report(self, model: str) -> Json:
        route, generation = self.standing(model)
        made: Json = {
            "model": model,
            "generation": generation,
            "seconds": 60,
            "stable": side(route.stable),
            "canary": side(route.canary) if route.canary else None,
            "agreement": agreement(0, 0),
            "decision": None,
        }
        return {**made, **self.reports.get(model, {})}

    def change(self, model: str, transition: Callable[[Route], Route], action: str, call: "Call") -> Json:
        """By compare-and-set on what the call names. Raises Problem."""
        self.before_change()
        route, generation = self.standing(model)
        if call.expected not in (None, f'"{generation}"'):
            raise Problem(
                412, "precondition_failed", "Precondition failed", f"The route is at generation {generation}."
            )
        try:
            after = transition(route)
        except RefusedChange as error:
            raise Problem(409, "route_conflict", "Route conflict", str(error)) from None
        except ValidationFailed as error:
            errors = [{"pointer": at.pointer, "detail": at.detail} for at in error.errors]
            raise Problem(422, "validation_failed", "Validation failed", str(error), errors=errors) from None
        if self.failing_checks and after.weight > route.weight:
            raise Problem(
                409,
                "preflight_failed",
                "Pre-flight failed",
                f"Version {after.canary} is not fit for traffic.",
                reasons=self.failing_checks,
            )
        return self.put(model, after, action, "key_me", call.body.get("reason", ""))


def _event(model: str, generation: int, cause: tuple[str, str, str], before: Route, after: Route) -> Json:
    actor, action, reason = cause
    return {
        "id": f"{generation}-0",
        "at": _iso(time.time()),
        "model": model,
        "generation": generation,
        "actor": actor,
        "action": action,
        "reason": reason,
        "before": _document(before) if generation > 1 else None,
        "after": _document(after),
    }


def _document(route: Route) -> Json:
    return {name: value for name, value in json.loads(to_document(route)).items() if name != "salt"}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
