// A picture and the boxes on it. Boxes are placed in parts of the whole, so they fit however large it is shown.

import { fill, h } from "../shared/dom.js";

const COARSE = 200; // pixels; smaller pictures are shown larger than they are, and with their pixels

/** `size` is the picture's, in pixels after its EXIF orientation; the boxes are in the same. */
export function picture(url, alt, size, detections) {
  const coarse = size.width < COARSE;
  const style = { "--ratio": size.width / size.height, ...(coarse && { "--most": "320px" }) };
  return h(
    "div",
    { class: coarse ? "frame coarse" : "frame", style },
    h("img", { src: url, alt }),
    detections && h("ul", { class: "boxes", "aria-label": "Boxes" }, boxes(detections, size)),
  );
}

/** Puts boxes in the place of those in `list`. */
export function redraw(list, detections, size) {
  fill(list, boxes(detections, size));
}

function boxes(detections, { width, height }) {
  const part = (value, whole) => `${(100 * Math.min(Math.max(value, 0), whole)) / whole}%`;
  return detections.map(({ label, score, box }, index) => {
    const style = {
      left: part(box.x_min, width),
      top: part(box.y_min, height),
      width: part(box.x_max - box.x_min, width),
      height: part(box.y_max - box.y_min, height),
    };
    // Where there is no room for its label above, or to the right.
    const places = [box.y_min / height < 0.06 && "low", box.x_min / width > 0.8 && "left"].filter(Boolean);
    return h("li", { class: places.join(" "), style, dataset: { index } }, h("span", {}, `${label} ${percent(score)}`));
  });
}

export const percent = (score) => `${(score * 100).toFixed(score >= 0.9995 || score < 0.1 ? 1 : 0)} %`;

/** The size of an image file as it is shown, or null where this browser cannot show it. */
export async function sizeOf(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return null;
  }
  return { width: image.naturalWidth, height: image.naturalHeight };
}
