// The audit log: who changed routes, models and keys, when, and what.

import { fill, h, refill } from "../shared/dom.js";
import { read } from "./admin.js";
import { entry } from "./history.js";
import { problemNotice, workButton } from "./parts.js";
import { every } from "./rollouts.js";

const PAGE = 25;
const INTERVAL = 3000;
const AREAS = { canaries: "route", models: "model", keys: "key" };

export function audit() {
  const trouble = h("div", {});
  const list = h("ol", { class: "log" }, h("li", { class: "muted", role: "status" }, "Reading the log…"));
  const more = workButton({ class: "quiet", hidden: true }, "Earlier changes", earlier);
  const element = h("div", { class: "stack narrow" }, h("h1", {}, "Audit log"),
    h("p", { class: "muted" }, "Every change of what you may administer, by whom and when, the newest first."),
    trouble, h("section", { class: "card" }, h("div", { class: "body stack" }, list, more)));
  let changes = [];

  /**
   * The newest page, joined to what was read of the pages before it; alone where the two do not touch, since changes
   * may lie between, or where what was read stands in the log no more.
   */
  async function look() {
    const newest = await page("");
    if (newest === null) return;
    const known = new Set(newest.map(key));
    const rest = changes.filter((change) => !known.has(key(change)));
    const joins = rest.length < changes.length && !rest.some((change) => change.at > newest.at(-1).at);
    if (!joins) more.hidden = newest.length < PAGE;
    changes = joins ? [...newest, ...rest] : newest;
    draw();
  }

  async function earlier() {
    const last = changes.at(-1);
    const found = await page(`&before=${encodeURIComponent(last.id)}`);
    if (found === null || key(changes.at(-1)) !== key(last)) return; // meanwhile the list began anew
    more.hidden = found.length < PAGE;
    changes = [...changes, ...found];
    draw();
  }

  async function page(before) {
    try {
      const found = (await read(`/admin/v1/audit?limit=${PAGE}${before}`)).changes;
      fill(trouble);
      return found;
    } catch (problem) {
      fill(trouble, problemNotice(problem));
      return null;
    }
  }

  function draw() {
    refill(list, changes.map(key), () => (changes.length ? changes.map((change) => entry(change, subject(change)))
      : h("li", { class: "muted" }, "Nothing was changed yet.")));
  }

  return { element, update: () => {}, stop: every(INTERVAL, look) };
}

const key = ({ id, area }) => `${area} ${id}`;

function subject(change) {
  const { area, subject: name } = change;
  const target = { canaries: `#/rollouts/${encodeURIComponent(name)}`, models: "#/models", keys: "#/keys" }[area];
  return [h("span", { class: "muted" }, AREAS[area]), " ", h("a", { href: target, dataset: { key: key(change) } }, h("code", {}, name)), " "];
}
