// Numbers and moments as people read them.

/** Basis points: 250 is "2.5 %". */
export const percent = (basisPoints) => `${trim(basisPoints / 100, 2)} %`;

/** A share of one: 0.0123 is "1.23 %". */
export const share = (value) => (value === null || value === undefined ? "–" : `${trim(value * 100, 2)} %`);

export const milliseconds = (value) =>
  value === null || value === undefined ? "–" : value >= 1000 ? `${trim(value / 1000, 2)} s` : `${trim(value, value < 10 ? 1 : 0)} ms`;

export const rate = (value) => (value === null || value === undefined ? "–" : `${trim(value, value < 10 ? 1 : 0)}/s`);

export function trim(value, digits) {
  return Number(value.toFixed(digits)).toLocaleString("en", { maximumFractionDigits: digits });
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60 ? `${whole % 60} s` : ""}`.trim();
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export const ago = (moment) => {
  const seconds = (Date.now() - new Date(moment)) / 1000;
  return seconds < 2 ? "just now" : `${duration(seconds)} ago`;
};

export const moment = (text) =>
  new Date(text).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
    second: "2-digit" });

export const day = (text) =>
  text === null ? "–" : new Date(text).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** "90", "90s", "10m", "2h", "1d" as seconds; NaN for anything else. */
export function seconds(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(s|m|h|d)?\s*$/.exec(text);
  return found ? Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86_400 }[found[2] ?? "s"] : NaN;
}

/** "1%", "2.5 %" or "25" as basis points; NaN for anything else. */
export function basisPoints(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*%?\s*$/.exec(text);
  return found ? Math.round(Number(found[1]) * 100) : NaN;
}
