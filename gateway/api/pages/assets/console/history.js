// The log of a route: who changed what, when, and why.

import { fill, h } from "../shared/dom.js";
import { routes } from "./admin.js";
import * as format from "./format.js";
import { problemNotice, workButton } from "./parts.js";

const PAGE = 12;

export function history(store, model) {
  const list = h("ol", { class: "log" });
  const trouble = h("div", {});
  const more = workButton({ class: "quiet", hidden: true }, "Earlier changes", () => load(events.at(-1).id));
  const element = h("section", { class: "card", "aria-label": "Log" },
    h("header", {}, h("h2", {}, "Log")), h("div", { class: "body stack" }, trouble, list, more));
  let events = [];
  let generation = null;

  function update() {
    const now = store.routes.get(model)?.generation;
    if (now === undefined || now === generation) return;
    generation = now;
    load();
  }

  async function load(before) {
    try {
      const found = (await routes.log(model, { before, limit: PAGE })).events;
      if (before && events.at(-1)?.id !== before) return; // meanwhile the list began anew
      events = before ? [...events, ...found] : found;
      store.logs.set(model, events);
      store.changed();
      more.hidden = found.length < PAGE;
      fill(trouble);
      fill(list, events.length ? events.map((event) => entry(event)) : h("li", { class: "muted" }, "Nobody has changed this route yet."));
    } catch (problem) {
      generation = null;
      fill(trouble, problemNotice(problem));
    }
  }

  return { element, update };
}

/** A change; `about` is what it changed, where that is not plain. */
export function entry(event, about = null) {
  const bad = event.action === "rollback";
  return h("li", {},
    h("time", { datetime: event.at, class: "small muted number" }, format.moment(event.at)),
    h("div", {},
      h("p", {}, h("span", { class: `badge ${bad ? "bad" : event.action === "promote" ? "good" : ""}` }, event.action), " ", about,
        h("span", { class: "muted" }, "by "), h("code", {}, event.actor),
        event.generation && h("span", { class: "muted" }, ` · generation ${event.generation}`)),
      event.reason && h("p", {}, event.reason),
      event.generation && h("p", { class: "small muted" }, differences(event.before ?? {}, event.after ?? {}).join(" · "))));
}

const SHOWN = {
  stable: (value) => value ?? "default",
  canary: (value) => value ?? "none",
  weight: (value) => format.percent(value ?? 0),
  mirror: (value) => format.percent(value ?? 0),
  phase: (value) => value ?? "steady",
  frozen: (value) => (value ? "yes" : "no"),
};

function differences(before, after) {
  return Object.entries(SHOWN)
    .map(([name, show]) => [name, show(before[name]), show(after[name])])
    .filter(([, from, to]) => from !== to)
    .map(([name, from, to]) => `${name} ${from} → ${to}`);
}
