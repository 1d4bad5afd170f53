// Every worker of every replica, and whether it applies the newest generation of each route.

import { fill, h } from "../shared/dom.js";
import { read } from "./admin.js";
import * as format from "./format.js";
import { problemNotice } from "./parts.js";
import { every } from "./rollouts.js";

const INTERVAL = 1000;

export function workers(store) {
  const trouble = h("div", {});
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Workers" });
  const element = h("div", { class: "stack narrow" }, h("h1", {}, "Workers"),
    h("p", { class: "muted" }, "Every worker of every replica says once a second which generation of each route it applies."),
    trouble, h("section", { class: "card" }, h("div", { class: "body" }, table)));
  const stop = every(INTERVAL, async () => {
    try {
      draw(table, (await read("/admin/v1/workers")).workers);
      fill(trouble);
    } catch (problem) {
      fill(trouble, problemNotice(problem));
    }
  });
  return { element, update: () => {}, stop };
}

function draw(place, found) {
  const models = [...new Set(found.flatMap((worker) => Object.keys(worker.generations)))].sort();
  const newest = (model) => Math.max(...found.map((worker) => worker.generations[model] ?? 0));
  const cell = (worker, model) => {
    const generation = worker.generations[model] ?? 0;
    const behind = generation < newest(model);
    return h("td", {}, h("span", { class: `badge ${behind ? "canary" : "good"}` }, `generation ${generation}`, behind && ", behind"));
  };
  fill(place, h("table", {},
    h("thead", {}, h("tr", {}, ["Replica", "Process", "Up for", "Seen", ...models].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, found.map((worker) => h("tr", {},
      h("th", { scope: "row" }, worker.host), h("td", {}, h("code", {}, worker.process)),
      h("td", {}, format.duration((Date.now() - new Date(worker.started_at)) / 1000)),
      h("td", {}, format.ago(worker.seen_at)), models.map((model) => cell(worker, model)))))));
}
