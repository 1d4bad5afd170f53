// The pages' icons: strokes in the colour of the text around them, 16 by 16.

import { s } from "./dom.js";

const PATHS = {
  check: ["M3 8.5 6.5 12 13 4.5"],
  copy: ["M5.5 5.5h7v8h-7z", "M10.5 5.5v-3h-7v8h2"],
  cross: ["M4 4l8 8M12 4l-8 8"],
  info: ["M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12z", "M8 7.5v3.5M8 5v.2"],
  lock: ["M3.5 7.5h9v6h-9z", "M5.5 7.5v-2a2.5 2.5 0 0 1 5 0v2"],
  pause: ["M5.5 3.5v9M10.5 3.5v9"],
  play: ["M5 3.5v9l7-4.5z"],
  plus: ["M8 3v10M3 8h10"],
  promote: ["M8 13V3.5M4 7.5l4-4 4 4"],
  undo: ["M6 3 2.5 6.5 6 10", "M3 6.5h6.5a3.5 3.5 0 0 1 0 7H6"],
  back: ["M13 8H3.5M7.5 4l-4 4 4 4"],
  warning: ["M8 2.5 14.5 13.5h-13z", "M8 6.5v3.5M8 11.8v.1"],
};

/** Decoration: what it means stands beside it, or in its button's label. */
export function icon(name) {
  return s(
    "svg",
    { viewBox: "0 0 16 16", fill: "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linecap": "round",
      "stroke-linejoin": "round", "aria-hidden": "true" },
    PATHS[name].map((d) => s("path", { d })),
  );
}
