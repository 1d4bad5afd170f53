// All routes at a glance, and the one that is looked at.

import { fill, h, refill } from "../shared/dom.js";
import { read } from "./admin.js";
import * as format from "./format.js";
import { Stream } from "./live.js";
import { notice } from "./parts.js";
import { phaseBadge, rollout } from "./rollout.js";

const WORKERS_INTERVAL = 2000;

export function rollouts(store, [wanted]) {
  const list = h("ul", { class: "models" });
  const place = h("div", { class: "place" });
  const element = h("div", { class: "rollouts" },
    h("nav", { class: "side", "aria-label": "Models" }, list), place);
  const drawn = new Map(); // by model: the link's updater
  let view = null;
  let model = null;
  let stream = null;

  function open(name) {
    model = name;
    stream?.close();
    stream = new Stream(name);
    stream.addEventListener("connection", ({ detail }) => store.set({ connected: detail }));
    stream.addEventListener("route", ({ detail }) => store.route(detail));
    stream.addEventListener("models", ({ detail }) => store.set({ models: detail.models }));
    stream.addEventListener("report", ({ detail }) => store.report(detail));
    stream.addEventListener("traffic", ({ detail }) => store.addTraffic(detail));
    view = name ? rollout(store, name, (of) => store.models[of] ?? []) : null;
    refill(place, { name }, () => view?.element ?? h("p", { class: "empty muted", role: "status" }, "Looking for models…"));
  }

  function update() {
    const routes = store.served.sort((one, other) => one.model.localeCompare(other.model));
    const isServed = (name) => routes.some((route) => route.model === name);
    if (model && !isServed(model)) {
      wanted = model; // it was unloaded, and may come back
      open(null);
    }
    if (!model && areAllKnown(store)) {
      if (wanted && !isServed(wanted)) refill(place, wanted, () => notice("warn", `There is no model ${wanted} here. Choose another one.`));
      else open(wanted || (routes.find((route) => route.under_way) ?? routes[0]).model);
    }
    if (drawn.size !== routes.length || routes.some((route) => !drawn.has(route.model))) {
      drawn.clear();
      fill(list, routes.map((route) => {
        const item = link(route.model);
        drawn.set(route.model, item.update);
        return h("li", {}, item.element);
      }));
    }
    for (const route of routes) drawn.get(route.model)(route, route.model === model);
    view?.update();
  }

  const stops = [
    every(WORKERS_INTERVAL, async () => store.set({ workers: (await read("/admin/v1/workers")).workers })),
  ];
  open(null);
  return { element, update, stop: () => [() => stream.close(), ...stops].forEach((stop) => stop()) };
}

function link(model) {
  const badge = h("span", {});
  const weight = h("span", { class: "bar", "aria-hidden": "true" }, h("i", {}));
  const text = h("span", { class: "small muted" });
  const element = h("a", { href: `#/rollouts/${encodeURIComponent(model)}` },
    h("span", { class: "name" }, model), weight, text, badge);
  return {
    element,
    update(route, current) {
      refill(badge, [route.phase, route.under_way], () => (route.phase === "steady" ? null : phaseBadge(route)));
      weight.firstChild.style.setProperty("width", `${route.weight / 100}%`);
      weight.hidden = !route.under_way;
      text.textContent = course(route);
      if (current) element.setAttribute("aria-current", "page");
      else element.removeAttribute("aria-current");
    },
  };
}

/** The stream names the models first; their routes may come in several pieces. */
function areAllKnown({ models, routes }) {
  const names = Object.keys(models);
  return names.length > 0 && names.every((name) => routes.has(name));
}

function course(route) {
  if (!route.under_way) return `version ${route.stable}`;
  const mirrored = route.weight === 0 && route.mirror > 0;
  return `v${route.stable} → v${route.canary} ${mirrored ? `mirrored ${format.percent(route.mirror)}` : `at ${format.percent(route.weight)}`}`;
}

/** Does it now and then again and again; what fails is tried again. Answers how to stop. */
export function every(interval, work) {
  let stopped = false;
  (async () => {
    while (!stopped) {
      await work().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, interval));
    }
  })();
  return () => { stopped = true; };
}
