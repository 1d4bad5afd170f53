// What Triton has loaded and how it does; models are loaded, unloaded and healed here.

import { fill, h, refill } from "../shared/dom.js";
import { change, read } from "./admin.js";
import * as format from "./format.js";
import { ask, notice, problemNotice, toast } from "./parts.js";
import { every } from "./rollouts.js";

const MODELS = "/admin/v1/models";
const INTERVAL = 3000;
const TONES = { READY: "good", LOADING: "accent", UNLOADING: "accent", UNAVAILABLE: "bad" };

export function models() {
  const trouble = h("div", {});
  const list = h("div", { class: "stack" }, h("p", { class: "muted", role: "status" }, "Asking Triton…"));
  const element = h("div", { class: "stack narrow" }, h("h1", {}, "Models"), trouble, list);

  async function load() {
    try {
      const found = (await read(MODELS)).models;
      fill(trouble);
      refill(list, found, () => found.map((model) => card(model, load)));
    } catch (problem) {
      fill(trouble, problemNotice(problem));
    }
  }

  return { element, update: () => {}, stop: every(INTERVAL, load) };
}

function card(model, reload) {
  const act = (action, props) => h("button",
    { class: `button ${props.tone ?? ""}`, type: "button", "aria-label": `${props.label} ${model.name}`, onclick: () => question(model, action, props, reload) },
    props.label);
  const loaded = model.versions.some((version) => version.state === "READY");
  return h("section", { class: "card", "aria-label": model.name },
    h("header", {}, h("h2", {}, model.name),
      h("span", { class: `badge ${model.callable ? "good" : loaded ? "bad" : ""}` },
        model.callable ? "answers" : loaded ? "does not answer" : "not loaded"),
      model.task && h("span", { class: "badge" }, model.task),
      h("div", { class: "end buttons" },
        act("load", { label: loaded ? "Load again" : "Load", say: "Triton reads the model's files. What serves now goes on until the new ones do.", done: "is loaded" }),
        loaded && act("heal", { label: "Heal", say: "Unloads the model and loads it at once: that starts a process again which died. Its callers get 503 in between.", done: "is loaded again" }),
        loaded && act("unload", { label: "Unload", tone: "danger", say: "Calls under way end first; then the model answers nobody.", done: "is unloaded" }))),
    h("div", { class: "body stack" },
      model.reason && notice("bad", model.reason),
      model.versions.length > 0 ? versions(model)
        : h("p", { class: "muted" }, "Triton has a folder for it, and nothing of it in memory.")));
}

const mean = (statistics, name) => format.milliseconds(statistics?.[name]);

function versions(model) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Versions of ${model.name}` }, h("table", {},
    h("thead", {}, h("tr", {}, ["Version", "State", "Requests", "Failures", "Mean batch", "Queue", "Compute"].map((text, index) =>
      h("th", { scope: "col", class: index > 1 ? "right" : "" }, text)))),
    h("tbody", {}, model.versions.map(({ version, state, reason, statistics }) => h("tr", {},
      h("th", { scope: "row" }, version, version === model.default_version && h("span", { class: "badge stable" }, "stable")),
      h("td", {}, h("span", { class: `badge ${TONES[state] ?? ""}` }, state.toLowerCase()), reason && h("p", { class: "small muted" }, reason)),
      h("td", { class: "right" }, statistics?.requests.toLocaleString("en") ?? "–"),
      h("td", { class: "right" }, statistics?.failures.toLocaleString("en") ?? "–"),
      h("td", { class: "right" }, statistics?.mean_batch ?? "–"),
      h("td", { class: "right" }, mean(statistics, "queue_ms")), h("td", { class: "right" }, mean(statistics, "compute_ms")))))));
}

function question(model, action, { label, tone, say, done }, reload) {
  const stands = action === "unload" ? model.needed : [];
  const force = h("input", { type: "checkbox", id: "force" });
  ask({
    title: `${label}: ${model.name}`,
    confirm: label,
    danger: tone === "danger",
    content: [
      h("p", {}, say),
      stands.length > 0 && notice("warn", h("p", {}, "This model is needed:"), h("ul", { class: "reasons" }, stands.map((reason) => h("li", {}, reason)))),
      stands.length > 0 && h("label", { class: "check", for: "force" }, force, "Do it all the same"),
    ],
    act: async () => {
      const json = action === "heal" ? undefined : { force: force.checked };
      await change("POST", `${MODELS}/${encodeURIComponent(model.name)}/${action}`, { json });
      toast(`${model.name} ${done}.`);
      reload();
    },
  });
}
