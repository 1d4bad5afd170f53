// An answer, for a reader: labels with bars, where the time went, and what the headers say.

import { h } from "../shared/dom.js";
import { percent, picture } from "./picture.js";

const STAGES = {
  auth: "who calls",
  limit: "quota",
  body: "receiving",
  fetch: "fetching the image",
  decode: "decoding the input",
  queue: "waiting for its turn",
  triton: "Triton",
  post: "reading the output",
  rest: "the gateway's rest",
  way: "network and browser",
};

/** `shown` is what was sent: `{url, alt, size}` of an image (`size` null where it cannot be shown) or `{text}`. */
export function answerCard({ data, headers, elapsed }, shown, second) {
  const [result] = data.results;
  const found = result.detections ?? result.predictions;
  const label = `Answer of version ${data.model.version}`;
  const card = h(
    "article",
    { class: `card result${second ? " second" : ""}${shown.url ? "" : " text"}`, "aria-label": label },
    h("header", {}, h("h2", {}, data.model.name), badges(data.model), h("span", { class: "end muted small number" }, `${elapsed.toFixed(0)} ms`)),
    h(
      "div",
      { class: "body" },
      shown.url
        ? picture(shown.url, shown.alt, result.image ?? shown.size ?? { width: 4, height: 3 }, result.detections)
        : h("blockquote", { class: "quote" }, shown.text),
      bars(found),
      h("div", { class: "wide times" }, h("h3", {}, "Where the time went"), times(headers.get("Server-Timing"), elapsed)),
      h("details", { class: "wide" }, h("summary", {}, "Headers of the answer"), table(headers)),
    ),
  );
  if (result.detections) pairUp(card);
  return card;
}

function badges({ version, variant }) {
  const tone = { stable: "stable", canary: "canary" }[variant] ?? "";
  return [h("span", { class: "badge" }, `version ${version}`), h("span", { class: `badge ${tone}` }, variant)];
}

/** Predictions or detections, best first. */
export function bars(found) {
  if (!found.length) return h("p", { class: "muted" }, "Nothing above the lowest score.");
  return h(
    "ol",
    { class: "bars" },
    found.map(({ label, score }, index) =>
      h(
        "li",
        { dataset: { index } },
        h("span", { class: "name" }, label),
        h("span", { class: "number" }, percent(score)),
        h("span", { class: "track", "aria-hidden": "true" }, h("i", { style: { width: `${score * 100}%` } })),
      ),
    ),
  );
}

/** A box and its line light up together. */
function pairUp(card) {
  for (const item of card.querySelectorAll("[data-index]")) {
    for (const [event, lit] of [["pointerenter", true], ["pointerleave", false]]) {
      item.addEventListener(event, () => {
        for (const twin of card.querySelectorAll(`[data-index="${item.dataset.index}"]`)) twin.classList.toggle("lit", lit);
      });
    }
  }
}

/** Milliseconds by stage, from the header's text. */
export function stagesOf(header, elapsed) {
  const told = Object.fromEntries(
    (header ?? "").split(",").map((entry) => entry.trim().split(";dur=")).filter(([, ms]) => ms).map(([name, ms]) => [name, Number(ms)]),
  );
  const { total = elapsed, ...stages } = told;
  const named = Object.values(stages).reduce((sum, ms) => sum + ms, 0);
  return { ...stages, rest: Math.max(0, total - named), way: Math.max(0, elapsed - total) };
}

function times(header, elapsed) {
  const spent = Object.entries(stagesOf(header, elapsed)).filter(([name]) => name in STAGES);
  const colour = (name) => ({ background: `var(--stage-${name})` });
  return [
    h("div", { class: "bar", "aria-hidden": "true" }, spent.map(([name, ms]) => h("i", { style: { ...colour(name), "flex-grow": Math.max(ms, 0.01) } }))),
    h("ul", {}, spent.map(([name, ms]) => h("li", { dataset: { stage: name } }, h("i", { style: colour(name), "aria-hidden": "true" }), `${STAGES[name]} `, h("span", { class: "number muted" }, `${ms.toFixed(ms < 10 ? 1 : 0)} ms`)))),
  ];
}

function table(headers) {
  const rows = [...headers].map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Headers" }, h("table", {}, h("tbody", {}, rows)));
}

/** A sentence on two answers of two versions. */
export function verdict(one, other) {
  const [first, second] = [one, other].map(({ data }) => data.results[0]);
  if (first.predictions) {
    const [a, b] = [first, second].map(({ predictions }) => predictions[0]?.label);
    return a === b
      ? { agree: true, text: `Both versions say ${a ?? "nothing"}.` }
      : { agree: false, text: `They differ: version ${one.data.model.version} says ${a ?? "nothing"}, version ${other.data.model.version} says ${b ?? "nothing"}.` };
  }
  const labels = ({ detections }) => detections.map(({ label }) => label).sort().join(", ") || "nothing";
  const [a, b] = [labels(first), labels(second)];
  return a === b
    ? { agree: true, text: `Both versions find ${a}.` }
    : { agree: false, text: `They differ: version ${one.data.model.version} finds ${a}; version ${other.data.model.version} finds ${b}.` };
}
