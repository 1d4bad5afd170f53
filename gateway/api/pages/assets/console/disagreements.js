// Inputs to which the two versions answer differently, side by side; where the picture was kept, with the boxes of both.

import { fill, h, s } from "../shared/dom.js";
import { routes } from "./admin.js";
import * as format from "./format.js";

const MOST_BOXES = 40;
const HEIGHT = 230; // pixels of a picture with boxes, at most
const AT_FIRST = 6; // different ones that are shown until somebody asks for all
const MOST_ELEMENTS = 4; // of an output
const MEDIA_TYPES = { "/9j/": "image/jpeg", "iVBO": "image/png", "UklG": "image/webp" };

export function disagreements(store, model) {
  const count = h("span", { class: "badge" });
  const list = h("ul", { class: "disagreements" });
  const text = h("p", { class: "muted" });
  const element = h("section", { class: "card", "aria-label": "Disagreements" },
    h("header", {}, h("h2", {}, "Disagreements"), count), h("div", { class: "body stack" }, text, list));
  const all = h("button", { class: "button quiet", type: "button", hidden: true, onclick: () => { whole = true; arrange(); } });
  element.lastChild.append(all);
  let shown = "";
  let entries = [];
  let whole = false;

  function arrange() {
    all.hidden = whole || entries.length <= AT_FIRST;
    all.textContent = `Show all ${entries.length}`;
    fill(list, whole ? entries : entries.slice(0, AT_FIRST));
  }

  function update() {
    const report = store.reports.get(model);
    const agreement = report?.agreement;
    const samples = agreement?.disagreements ?? [];
    count.hidden = !agreement?.compared;
    count.textContent = agreement ? `${agreement.compared - agreement.agreed} of ${agreement.compared} compared` : "";
    text.textContent = explanation(store.routes.get(model), agreement, samples);
    text.hidden = samples.length > 0;
    const key = samples.map((sample) => sample.request_id + sample.sha256).join();
    if (key === shown) return;
    shown = key;
    draw(report, samples);
  }

  /** The stream leaves the pictures out, so they are fetched when the sample changes. */
  async function draw(report, samples) {
    const key = shown;
    if (samples.length > 0) {
      const pictured = await routes.report(model).catch(() => report);
      if (shown !== key) return;
      samples = pictured.agreement.disagreements;
    }
    entries = alike(samples).map(([sample, times]) => entry(sample, times, report));
    arrange();
  }

  return { element, update };
}

function explanation(route, agreement, samples) {
  if (samples.length > 0) return "";
  if (agreement?.compared) return "The versions agree on everything that was compared so far.";
  if (route?.mirror) return "Nothing was compared yet.";
  return "Nothing is compared: a share of the stable version's calls has to be mirrored to the canary (the plan's “mirror”).";
}

/** One of each input, with how often it came: the same picture says the same every time. */
function alike(samples) {
  const found = new Map();
  for (const sample of samples) found.set(sample.sha256, [sample, (found.get(sample.sha256)?.[1] ?? 0) + 1]);
  return [...found.values()];
}

function entry(sample, times, report) {
  const boxes = "detections" in sample.stable;
  return h("li", { class: boxes ? "boxes" : "" },
    boxes ? scene(sample) : picture(sample),
    h("div", { class: "answers" },
      side("stable", report.stable.version, sample.stable),
      side("canary", report.canary?.version ?? "", sample.canary),
      h("p", { class: "small muted" }, "Request ", h("code", {}, sample.request_id.slice(0, 12)),
        times > 1 && ` and ${times - 1} more`,
        !sample.image && h("span", { title: `SHA-256 ${sample.sha256}` }, ` · ${kind(sample)} `, h("code", {}, sample.sha256.slice(0, 10)), ", not kept"))));
}

const kind = ({ stable }) => ("outputs" in stable ? "tensors" : "picture");
const source = (image) => image && MEDIA_TYPES[image.slice(0, 4)] ? `data:${MEDIA_TYPES[image.slice(0, 4)]};base64,${image}` : null;

function picture(sample) {
  const from = source(sample.image);
  return h("div", { class: "picture" }, from ? h("img", { src: from, alt: "The picture that both versions were asked about" })
    : h("span", { class: "muted small" }, "not kept"));
}

/** The picture with the stable version's boxes in blue and the canary's, dashed, in yellow. */
function scene(sample) {
  const { width, height } = sample.stable.image;
  const from = source(sample.image);
  const rects = (side, tone) => side.detections.slice(0, MOST_BOXES).map(({ box, label }) =>
    s("rect", { class: `box ${tone}`, x: box.x_min, y: box.y_min, width: box.x_max - box.x_min, height: box.y_max - box.y_min },
      s("title", {}, label)));
  const count = (side) => side.detections.length;
  return h("div", { class: "picture scene", style: { "max-width": `${Math.round((HEIGHT * width) / height)}px` } },
    from ? h("img", { src: from, alt: "" }) : h("span", { class: "muted small" }, "not kept"),
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Boxes: ${count(sample.stable)} of the stable version, ${count(sample.canary)} of the canary` },
    rects(sample.stable, "stable"), rects(sample.canary, "canary")));
}

function side(tone, version, answer) {
  if (answer.outputs) return h("p", {}, h("span", { class: `badge ${tone}` }, `v${version}`), " ", answer.outputs.map(output));
  const found = (answer.predictions ?? answer.detections).slice(0, answer.predictions ? 2 : 4);
  const more = (answer.predictions ? 0 : answer.detections.length - found.length);
  return h("p", {}, h("span", { class: `badge ${tone}` }, `v${version}`), " ",
    found.length === 0 ? h("span", { class: "muted" }, "nothing") : found.map((one, index) => [
      index > 0 && ", ", h("b", {}, one.label ?? `class ${one.class_id}`), h("span", { class: "muted number" }, ` ${format.trim(one.score * 100, 0)} %`)]),
    more > 0 && h("span", { class: "muted" }, ` and ${more} more`));
}

/** An output of a model that is called with tensors: its name, and how it begins. */
function output({ name, datatype, shape, first }, index) {
  const begins = first.slice(0, MOST_ELEMENTS).map((each) => (typeof each === "number" ? format.trim(each, 4) : String(each)));
  return [index > 0 && "; ", h("b", {}, name), h("span", { class: "muted number" }, ` ${datatype}[${shape}] ${begins.join(", ")} …`)];
}
