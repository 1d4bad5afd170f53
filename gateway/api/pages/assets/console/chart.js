// A line chart over the last minutes, drawn as SVG: one line a version, gaps where nothing was measured.

import { fill, h, s } from "../shared/dom.js";

const HEIGHT = 150;
const MARGIN = { top: 8, right: 8, bottom: 20, left: 44 };

/**
 * `format` turns a value into text. `draw` takes lines ({ name, label, tone, dashed, points: [[second, value|null]] }),
 * the seconds `from` and `to`, and marks ({ at, text }): moments when the route changed. `floor` is the least top of
 * the scale, `ceiling` its greatest; `low` writes the marks at the foot, for values that are mostly high.
 */
export class Chart {
  #plot = s("svg", { class: "plot", height: HEIGHT, role: "img" });
  #legend = h("ul", { class: "legend" });
  #reading = h("p", { class: "reading small number", hidden: true });
  #last = null;
  #at = null;

  constructor(title, { format, floor = 1, ceiling = Infinity, low = false }) {
    this.title = title;
    this.format = format;
    this.floor = floor;
    this.ceiling = ceiling;
    this.markY = low ? HEIGHT - MARGIN.bottom - 6 : MARGIN.top + 9;
    this.element = h("figure", { class: "card chart" },
      h("figcaption", {}, h("h3", {}, title), this.#legend), h("div", { class: "frame" }, this.#plot, this.#reading));
    this.#plot.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#plot.addEventListener("pointerleave", () => this.#point(null));
    new ResizeObserver(() => this.#last && this.draw(this.#last)).observe(this.#plot);
  }

  draw(data) {
    this.#last = data;
    const width = this.#plot.clientWidth || 480;
    const values = data.lines.flatMap((line) => line.points.map((point) => point[1]).filter((value) => value !== null));
    const top = Math.min(nice(Math.max(this.floor, ...values)), this.ceiling);
    const x = (second) => MARGIN.left + ((second - data.from) / (data.to - data.from)) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => HEIGHT - MARGIN.bottom - (Math.min(value, top) / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    this.#plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    fill(this.#plot,
      this.#grid(top, width, y),
      this.#hours(data, x),
      data.marks.map((mark) => this.#mark(mark, x)),
      data.lines.map((line) => path(line, x, y)),
      values.length === 0 && s("text", { class: "nothing", x: width / 2, y: HEIGHT / 2 - 14, "text-anchor": "middle" },
        "Nothing measured yet"),
      this.#at !== null && this.#cursor(data, x, y));
    this.#describe(data);
  }

  #grid(top, width, y) {
    return [0, top / 2, top].map((value) => s("g", { class: "grid" },
      s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      s("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, this.format(value))));
  }

  #hours({ from, to }, x) {
    const step = to - from > 300 ? 120 : to - from > 150 ? 60 : 30;
    const ticks = [];
    for (let back = 0; back <= to - from; back += step) ticks.push(back);
    return ticks.map((back) => s("text",
      { class: "tick", x: x(to - back), y: HEIGHT - 5,
        "text-anchor": back === 0 ? "end" : back + step > to - from ? "start" : "middle" },
      back === 0 ? "now" : back % 60 ? `−${back} s` : `−${back / 60} min`));
  }

  #mark({ at, text }, x) {
    const { from, to } = this.#last;
    if (at < from || at > to) return null;
    const late = at > from + 0.85 * (to - from);
    return s("g", { class: "mark" },
      s("line", { x1: x(at), x2: x(at), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      s("text", { x: x(at) + (late ? -4 : 4), y: this.markY, "text-anchor": late ? "end" : "start" }, text));
  }

  #point(offset) {
    if (!this.#last) return;
    const width = this.#plot.clientWidth;
    const along = (offset - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
    const { from, to } = this.#last;
    this.#at = offset === null || along < 0 || along > 1 ? null : from + along * (to - from);
    this.draw(this.#last);
    this.#reading.hidden = this.#at === null;
  }

  #cursor({ lines, to }, x, y) {
    const near = lines.map((line) => [line, nearest(line.points, this.#at)]).filter(([, point]) => point);
    if (near.length === 0) return null;
    const at = near[0][1][0];
    fill(this.#reading, `${Math.round(to - at)} s ago`,
      near.map(([line, point]) => [" · ", h("span", { class: `tone ${line.tone}` }, `${line.name} ${this.format(point[1])}`)]));
    return [
      s("line", { class: "cursor", x1: x(at), x2: x(at), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      near.map(([line, [second, value]]) => s("circle", { class: `point ${line.tone}`, cx: x(second), cy: y(value), r: 3.5 })),
    ];
  }

  /** The legend tells the newest values, so that nobody has to read them off, or to see. */
  #describe({ lines }) {
    const newest = lines.map((line) => [line, line.points.findLast((point) => point[1] !== null)?.[1] ?? null]);
    fill(this.#legend, newest.map(([line, value]) => h("li", { dataset: { line: line.name } },
      h("i", { class: `stroke ${line.tone} ${line.dashed ? "dashed" : ""}` }),
      h("span", {}, line.label ?? line.name, " ", h("b", { class: "number" }, this.format(value))))));
    const said = newest.map(([line, value]) => `${line.name} ${this.format(value)}`).join(", ");
    this.#plot.setAttribute("aria-label", `${this.title}: ${said || "nothing measured yet"}`);
  }
}

function path(line, x, y) {
  let pen = "M";
  const d = line.points.map(([second, value]) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const piece = `${pen}${x(second).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
    return piece;
  }).join("");
  return s("path", { class: `line ${line.tone} ${line.dashed ? "dashed" : ""}`, d });
}

function nearest(points, at) {
  let best = null;
  for (const point of points) {
    if (point[1] !== null && (best === null || Math.abs(point[0] - at) < Math.abs(best[0] - at))) best = point;
  }
  return best;
}

/** The next of 1, 2, 2.5 and 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 2.5, 5, 10].find((step) => step * power >= value * 0.999);
}
