// A picture and the boxes on it. Boxes are placed in parts of the whole, so they fit however large it is shown.

import { fill, h } from "../shared/dom.js";

const LABEL = { width: 0.12, height: 0.055 }; // of the picture, about
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
  const places = placesOf(detections, { width, height });
  return detections.map(({ label, score, box }, index) => {
    const style = {
      left: part(box.x_min, width),
      top: part(box.y_min, height),
      width: part(box.x_max - box.x_min, width),
      height: part(box.y_max - box.y_min, height),
    };
    return h("li", { class: places[index], style, dataset: { index } }, h("span", {}, `${label} ${percent(score)}`));
  });
}

/** Where each label stands: above its box and from its left on, unless there is no room, or another label. From the top. */
function placesOf(detections, { width, height }) {
  const places = [];
  const taken = [];
  const isFree = (x, y) => taken.every((other) => Math.abs(other.x - x) > LABEL.width || Math.abs(other.y - y) > LABEL.height);
  const fromTop = [...detections.entries()].sort(([, one], [, other]) => one.box.y_min - other.box.y_min);
  for (const [index, { box }] of fromTop) {
    const left = box.x_min / width > 0.8;
    const x = (left ? box.x_max : box.x_min) / width;
    const [above, below] = [box.y_min / height, box.y_max / height + LABEL.height];
    const low = above < LABEL.height || (!isFree(x, above) && below < 1 && isFree(x, below));
    taken.push({ x, y: low ? below : above });
    places[index] = [low && "low", left && "left"].filter(Boolean).join(" ");
  }
  return places;
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

const SIGNATURES = { "image/jpeg": /^\xff\xd8\xff/, "image/png": /^\x89PNG\r\n\x1a\n/, "image/webp": /^RIFF.{4}WEBP/s };

/** The file with the type that its first bytes tell, as the gateway tells it; its name may lack an extension. */
export async function typed(file) {
  const head = await file.slice(0, 12).arrayBuffer().catch(() => new ArrayBuffer(0)); // sending it will say why not
  const text = String.fromCharCode(...new Uint8Array(head));
  const type = Object.keys(SIGNATURES).find((each) => SIGNATURES[each].test(text)) ?? (file.type || "application/octet-stream");
  return type === file.type ? file : new File([file], file.name, { type });
}
