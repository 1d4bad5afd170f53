// One model's route: how it stands, what may be done about it, and what its versions answer, live.

import { h, refill } from "../shared/dom.js";
import { icon } from "../shared/icons.js";
import { routes } from "./admin.js";
import { charts } from "./charts.js";
import { disagreements } from "./disagreements.js";
import * as format from "./format.js";
import { history } from "./history.js";
import { ask, field, notice, toast } from "./parts.js";
import { plan } from "./plan.js";
import { split } from "./split.js";

export const PHASES = {
  steady: ["", "steady"],
  progressing: ["accent", "progressing"],
  paused: ["canary", "paused"],
  "rolled-back": ["bad", "rolled back"],
  promoted: ["good", "promoted"],
};

export function phaseBadge(route) {
  const [tone, text] = PHASES[route.phase];
  return h("span", { class: `badge ${tone}` }, text);
}

export function rollout(store, model, versions) {
  const badges = h("span", { class: "badges" });
  const facts = h("p", { class: "muted small" });
  const title = h("div", { class: "title" }, h("h1", {}, model), badges, facts);
  const verdict = h("div", {});
  const buttons = ACTIONS.map((action) => ({ action, button: actionButton(store, model, action) }));
  const actions = h("div", { class: "buttons", role: "group", "aria-label": "Actions" }, buttons.map(({ button }) => button));
  const views = [
    split(store, model, () => versions(model)),
    plan(store, model, () => versions(model)),
    charts(store, model),
    disagreements(store, model),
    history(store, model),
  ];
  const [splitView, planView, chartsView, ...rest] = views.map((view) => view.element);
  const element = h("div", { class: "rollout" },
    h("header", { class: "head" }, title, actions), verdict,
    h("div", { class: "two" }, splitView, planView), chartsView, rest);

  function update() {
    const route = store.routes.get(model);
    if (!route) return;
    refill(badges, [route.phase, route.frozen], () =>
      [phaseBadge(route), route.frozen && h("span", { class: "badge" }, icon("lock"), "frozen")]);
    const away = versions(model).length === 0 && "no version can be called";
    facts.textContent = [away, route.reason, route.since && format.ago(route.since), applied(store.workers, route)]
      .filter(Boolean).join(" · ");
    const decision = store.reports.get(model)?.decision;
    refill(verdict, [route.phase, route.reason, route.under_way, decision], () => said(route, decision));
    for (const { action, button } of buttons) button.hidden = !action.when(route);
    for (const view of views) view.update();
  }

  return { element, update };
}

/** The guard's last word, while there is something to judge. */
function said(route, decision) {
  if (route.phase === "rolled-back") return notice("bad", h("b", {}, "Rolled back. "), route.reason);
  if (!route.under_way || !decision) return null;
  const kind = { healthy: "good", insufficient: "info", "roll-back": "bad" }[decision.verdict];
  const word = { healthy: "Healthy. ", insufficient: "Not enough to judge yet. ", "roll-back": "To be rolled back. " }[decision.verdict];
  return notice(kind, h("b", {}, word), decision.detail);
}

function applied(workers, route) {
  if (!workers?.length) return "";
  const same = workers.filter((worker) => (worker.generations[route.model] ?? 0) >= route.generation).length;
  const all = workers.length === 1 ? "applied by the one worker" : `applied by ${same} of ${workers.length} workers`;
  return `generation ${route.generation}, ${all}`;
}

const changes = (route) => !route.frozen;
const moves = (route) => changes(route) && route.under_way;

const ACTIONS = [
  { name: "pause", label: "Pause", icon: "pause", when: (route) => changes(route) && route.phase === "progressing" },
  { name: "resume", label: "Resume", icon: "play", when: (route) => changes(route) && route.phase === "paused" },
  {
    name: "promote", label: "Promote", icon: "promote", when: moves,
    question: (route) => `Version ${route.canary} answers all callers at once and becomes the stable version.`,
    done: (route) => `Version ${route.stable} is the stable version now.`,
  },
  {
    name: "rollback", label: "Roll back", icon: "back", tone: "danger", when: (route) => route.under_way,
    question: (route) => `All callers go back to version ${route.stable} at once.`,
    done: (route) => `All callers are on version ${route.stable} again.`,
  },
  {
    name: "undo", label: "Undo", icon: "undo", when: (route) => changes(route) && route.generation > 0,
    question: () => "The route becomes what it was before its last change. A plan that ran then waits, paused.",
    done: () => "The last change is undone.",
  },
  {
    name: "freeze", label: "Freeze", icon: "lock", when: changes,
    question: () => "Nothing changes any more until it is unfrozen, except that the guard or an operator rolls back.",
    done: () => "The route is frozen.",
  },
  { name: "unfreeze", label: "Unfreeze", icon: "lock", when: (route) => route.frozen, done: () => "Changes pass again." },
];

function actionButton(store, model, action) {
  return h("button", { class: `button ${action.tone ?? ""}`, type: "button", hidden: true, onclick: () => act(store, model, action) },
    icon(action.icon), action.label);
}

function act(store, model, action) {
  const reason = h("input", { maxlength: "500", placeholder: "for the log" });
  const route = store.routes.get(model);
  ask({
    title: `${action.label}: ${model}`,
    confirm: action.label,
    danger: action.tone === "danger",
    content: [
      h("p", {}, action.question?.(route) ?? { pause: "The plan waits at its weight; the guard watches on.", resume: "The plan goes on; its step counts anew.", unfreeze: "What became due meanwhile happens now." }[action.name]),
      field("Reason (optional)", reason),
    ],
    act: async () => {
      // A rollback is meant for whatever stands; everything else for what was looked at.
      const generation = action.name === "rollback" ? undefined : route.generation;
      const after = await routes.act(model, action.name, generation, reason.value);
      store.route(after);
      toast(action.done?.(after) ?? `${action.label}: done.`);
    },
  });
}
