// The four charts of one model, from its traffic.

import { h } from "../shared/dom.js";
import { Chart } from "./chart.js";
import * as format from "./format.js";

const SHORTEST = 120; // seconds
const LONGEST = 600;
const AGREEMENT_POINTS = 15; // points that one value of agreement looks back on: comparisons are few

export function charts(store, model) {
  const requests = new Chart("Requests", { format: format.rate });
  const errors = new Chart("Errors", { format: format.share, floor: 0.05, ceiling: 1 });
  const latency = new Chart("Latency", { format: format.milliseconds, floor: 5 });
  const agreement = new Chart("Agreement of mirrored answers", { format: format.share, floor: 1, ceiling: 1, low: true });
  const element = h("div", { class: "charts" }, [requests, errors, latency, agreement].map((chart) => chart.element));
  let opened = null;

  function update() {
    const traffic = store.traffic.get(model);
    const route = store.routes.get(model);
    if (!traffic || !route) return;
    const to = traffic.now - (traffic.now % traffic.width);
    opened ??= to;
    const from = to - Math.min(LONGEST, Math.max(SHORTEST, to - opened));
    const known = new Map([route.stable, route.canary].filter(Boolean).map((version) => [version, new Map()]));
    const all = [...new Map([...known, ...traffic.versions])]
      .map(([version, points]) => ({ version, tone: toneOf(version, route), points: even(points, from, to, traffic.width) }))
      .filter((line) => line.tone !== "other" || line.points.some(({ requests, compared }) => requests || compared))
      .sort((one, other) => RANK[one.tone] - RANK[other.tone]);
    const shared = { from, to: to - traffic.width, marks: moves(store.logs.get(model) ?? []) };
    const drawn = (value, extra) => all.map(({ version, tone, points }) => ({
      name: `Version ${version}`, label: `v${version}`, tone, ...extra,
      points: points.map((point, index) => [point.at, value(point, points, index)]),
    }));
    requests.draw({ ...shared, lines: drawn((point) => point.requests / traffic.width) });
    errors.draw({ ...shared, lines: drawn((point) => (point.requests ? point.errors / point.requests : null)) });
    latency.draw({ ...shared, lines: drawn((point) => point.p95_ms).flatMap((line, index) => [
      { ...line, name: `${line.name}, 95th percentile`, label: `${line.label} p95` },
      { ...drawn((point) => point.p50_ms, { dashed: true })[index], name: `${line.name}, median`, label: "p50" },
    ]) });
    agreement.draw({ ...shared, lines: drawn(agreed).filter((line) => line.points.some((point) => point[1] !== null)) });
  }

  return { element, update };
}

const RANK = { stable: 0, canary: 1, other: 2 };

const toneOf = (version, route) => (version === route.stable ? "stable" : version === route.canary ? "canary" : "other");

const EMPTY = { requests: 0, errors: 0, p50_ms: null, p95_ms: null, compared: 0, agreed: 0 };

/** A point at every step; the last step still grows, so it is left out. */
function even(points, from, to, width) {
  const found = [];
  for (let at = from - (from % width); at < to; at += width) found.push(points.get(at) ?? { at, ...EMPTY });
  return found;
}

function agreed(_, points, index) {
  const recent = points.slice(Math.max(0, index + 1 - AGREEMENT_POINTS), index + 1);
  const compared = recent.reduce((sum, point) => sum + point.compared, 0);
  return compared ? recent.reduce((sum, point) => sum + point.agreed, 0) / compared : null;
}

/** The moments at which the split of the callers changed. */
function moves(events) {
  return events
    .filter(({ before, after }) => before?.weight !== after?.weight || before?.stable !== after?.stable)
    .map(({ at, action, after }) => ({
      at: new Date(at) / 1000,
      text: action === "rollback" ? "rolled back" : after ? format.percent(after.weight) : "default",
    }));
}
