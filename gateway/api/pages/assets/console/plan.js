// The plan of a rollout: its steps and where it stands, and the form that begins one.

import { h, refill } from "../shared/dom.js";
import { routes } from "./admin.js";
import * as format from "./format.js";
import { ask, field, toast } from "./parts.js";

export function plan(store, model, versions) {
  const list = h("ol", { class: "steps" });
  const text = h("p", { class: "muted" });
  const begin = h("button", { class: "button", type: "button", onclick: () => propose(store, model, versions()) }, "Plan a rollout…");
  const element = h("section", { class: "card", "aria-label": "Plan" },
    h("header", {}, h("h2", {}, "Plan"), h("div", { class: "end" }, begin)), h("div", { class: "body stack" }, list, text));

  function update() {
    const route = store.routes.get(model);
    if (!route) return;
    const runs = route.phase === "progressing" || route.phase === "paused";
    begin.hidden = runs;
    begin.disabled = route.frozen || versions().filter((version) => version !== route.stable).length === 0;
    list.hidden = route.steps.length === 0;
    refill(list, [route.steps, route.step, runs], () => route.steps.map((step, index) => h("li", {
      class: !runs ? "idle" : index < route.step ? "done" : index === route.step ? "here" : "ahead",
      "aria-current": runs && index === route.step ? "step" : null,
    }, h("b", { class: "number" }, format.percent(step.weight)))));
    text.textContent = sentence(route, runs, store.reports.get(model));
  }

  return { element, update };
}

function sentence(route, runs, report) {
  if (!runs) {
    return route.steps.length > 0
      ? "This plan does not run. A new one begins at its first step."
      : "No plan. A plan raises the weight step by step for as long as the guard finds the canary healthy.";
  }
  const step = route.steps[route.step];
  const passed = (Date.now() - new Date(route.step_started_at)) / 1000;
  const needs = `at least ${format.duration(step.seconds)} and ${step.min_requests} requests on the canary`;
  const stands = route.phase === "paused" ? "paused" : `for ${format.duration(passed)}`;
  const verdict = report?.decision?.verdict;
  const waits = verdict && verdict !== "healthy" ? " It waits until the guard says healthy." : "";
  return `Step ${route.step + 1} of ${route.steps.length}, ${stands}; it needs ${needs}.${waits}`;
}

function propose(store, model, versions) {
  const route = store.routes.get(model);
  const offered = versions.filter((version) => version !== route.stable);
  const canary = h("select", {}, offered.map((version) => h("option", { value: version }, `Version ${version}`)));
  canary.value = route.canary && offered.includes(route.canary) ? route.canary : offered.at(-1);
  const steps = h("input", { value: route.steps.map((step) => format.percent(step.weight)).join(", ") || "1 %, 5 %, 25 %, 50 %, 100 %" });
  const time = h("input", { value: route.steps.length ? `${route.steps[0].seconds}s` : "60s" });
  const least = h("input", { type: "number", min: "0", value: route.steps[0]?.min_requests ?? 100 });
  const mirror = h("input", { value: format.percent(route.mirror || 1000) });
  const agreement = h("input", { value: route.guard.min_agreement === null ? "" : format.percent(route.guard.min_agreement * 10_000), placeholder: "not judged" });
  const sticky = h("input", { value: route.sticky });
  ask({
    title: `Plan a rollout of ${model}`,
    confirm: "Begin the plan",
    content: [
      field("Canary", canary),
      field("Steps", steps, "Rising weights of the canary. A last step of 100 % promotes it."),
      h("div", { class: "pair" }, field("Time at each step", time, "Such as 90s, 10m or 2h."), field("Requests at each step", least, "On the canary, at least.")),
      h("div", { class: "pair" }, field("Mirror", mirror, "Share of stable calls that are compared."),
        field("Least agreement", agreement, "Else it is taken back; needs a mirror.")),
      field("Callers are told apart by", sticky, "principal, header:<name> or cookie:<name>."),
    ],
    act: async () => {
      const wanted = {
        canary: canary.value,
        weight: null,
        sticky: sticky.value.trim(),
        mirror: number(format.basisPoints(mirror.value || "0"), "mirror"),
        steps: steps.value.split(/[,;]/).map((text) => ({
          weight: number(format.basisPoints(text), "steps"),
          seconds: number(format.seconds(time.value), "time"),
          min_requests: Number(least.value),
        })),
        guard: { min_agreement: agreement.value.trim() ? number(format.basisPoints(agreement.value), "agreement") / 10_000 : null },
      };
      store.route(await routes.amend(model, store.routes.get(model).generation, wanted));
      toast("The plan has begun.");
    },
  });
}

/** The value; throws what a dialog shows where it is none. */
function number(value, name) {
  if (Number.isNaN(value)) throw new Error(`This is no value for ${name}.`);
  return value;
}
