// API keys: who holds one and what it may do; a new secret is shown once.

import { copy } from "../shared/clipboard.js";
import { fill, h } from "../shared/dom.js";
import { icon } from "../shared/icons.js";
import { change, read } from "./admin.js";
import * as format from "./format.js";
import { ask, field, notice, open, problemNotice, toast, workButton } from "./parts.js";

const KEYS = "/admin/v1/keys";
const SCOPES = {
  infer: "Call every model, or those named below",
  "pin-version": "Choose a version",
  "admin:canary": "Move canaries",
  "admin:models": "Load and unload models",
  "admin:keys": "Make and revoke keys",
};

export function keys(store, _, me) {
  const trouble = h("div", {});
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Keys" });
  const past = h("input", { type: "checkbox", id: "past", onchange: () => draw() });
  const element = h("div", { class: "stack narrow" },
    h("div", { class: "head" }, h("div", { class: "title" }, h("h1", {}, "API keys")),
      h("div", { class: "buttons" }, h("button", { class: "button primary", type: "button", onclick: () => create(me, load) }, icon("plus"), "New key"))),
    trouble,
    h("section", { class: "card" },
      h("header", {}, h("label", { class: "check", for: "past" }, past, "Show revoked and expired keys")),
      h("div", { class: "body" }, table)));
  let found = [], unreadable = [];

  async function load() {
    try {
      ({ keys: found, unreadable = [] } = await read(KEYS)); // an older gateway beside this one does not say it
      fill(trouble);
      draw();
    } catch (problem) {
      fill(trouble, problemNotice(problem));
    }
  }

  function draw() {
    const shown = found.filter((key) => past.checked || isActive(key))
      .sort((one, other) => one.tenant.localeCompare(other.tenant) || other.created_at.localeCompare(one.created_at));
    fill(table, h("table", {},
      h("thead", {}, h("tr", {}, ["Key", "Tenant", "Scopes", "Tier", "Made", "Expires", ""].map((text) =>
        h("th", { scope: "col" }, text || h("span", { class: "visually-hidden" }, "Actions"))))),
      h("tbody", {}, unreadable.map((id) => unreadableRow(id, me, load)), shown.map((key) => row(key, me, load)))));
  }

  load();
  return { element, update: () => {}, stop: () => {} };
}

const isActive = (key) => !key.revoked_at && (!key.expires_at || new Date(key.expires_at) > new Date());

function row(key, me, reload) {
  const active = isActive(key);
  return h("tr", { class: active ? "" : "past" },
    h("th", { scope: "row" }, h("code", {}, key.id), key.id === me.key && h("span", { class: "badge accent" }, "yours")),
    h("td", {}, key.tenant),
    h("td", {}, h("div", { class: "tags" }, key.scopes.map((scope) => h("span", { class: "badge" }, scope)),
      key.models?.map((model) => h("span", { class: "badge accent" }, model)))),
    h("td", {}, key.tier), h("td", {}, format.day(key.created_at)),
    h("td", {}, key.revoked_at ? h("span", { class: "badge bad" }, "revoked") : format.day(key.expires_at),
      key.previous_until && new Date(key.previous_until) > new Date() &&
        h("p", { class: "small muted" }, `old secret until ${format.moment(key.previous_until)}`)),
    h("td", {}, active && h("div", { class: "buttons tight" },
      h("button", { class: "button quiet", type: "button", "aria-label": `Rotate key ${key.id}`, onclick: () => rotate(key, me, reload) }, "Rotate"),
      revokeButton(key, me, reload))));
}

/** What Redis holds for this key is none any more; workers that knew it still accept it. */
function unreadableRow(id, me, reload) {
  return h("tr", {},
    h("th", { scope: "row" }, h("code", {}, id)),
    h("td", { colspan: "5" }, h("span", { class: "badge bad" }, "unreadable"), " It may still work, and can only be revoked."),
    h("td", {}, h("div", { class: "buttons tight" }, revokeButton({ id }, me, reload))));
}

function revokeButton(key, me, reload) {
  return h("button", { class: "button quiet danger", type: "button", "aria-label": `Revoke key ${key.id}`, onclick: () => revoke(key, me, reload) }, "Revoke");
}

function create(me, reload) {
  const tenant = h("input", { required: true, maxlength: "64", placeholder: "shop" });
  const tier = h("input", { value: "standard", maxlength: "32" });
  const models = h("input", { placeholder: "every model" });
  const expires = h("input", { placeholder: "never" });
  const boxes = Object.entries(SCOPES).map(([scope, meaning]) => {
    const held = me.scopes.includes(scope);
    const box = h("input", { type: "checkbox", id: `scope-${scope}`, value: scope, checked: scope === "infer" && held, disabled: !held });
    return { box, line: h("label", { class: "check", for: box.id }, box, h("span", {}, h("code", {}, scope), h("span", { class: "muted" }, ` ${meaning}`))) };
  });
  ask({
    title: "New API key",
    confirm: "Make the key",
    content: [
      h("div", { class: "pair" }, field("Tenant", tenant, "Who it is for."), field("Tier", tier, "Sets its limits.")),
      h("fieldset", { class: "field" }, h("legend", { class: "label" }, "Scopes"), boxes.map(({ line }) => line)),
      h("div", { class: "pair" }, field("Models", models, "Names, separated by commas."), field("Expires in", expires, "Such as 30d; empty: never.")),
    ],
    act: async () => {
      const wanted = { tenant: tenant.value.trim(), tier: tier.value.trim(), scopes: boxes.filter(({ box }) => box.checked).map(({ box }) => box.value) };
      if (models.value.trim()) wanted.models = models.value.split(",").map((name) => name.trim()).filter(Boolean);
      if (expires.value.trim()) {
        const at = new Date(Date.now() + format.seconds(expires.value) * 1000);
        if (Number.isNaN(at.valueOf())) throw new Error("Say when it expires like 30d or 12h.");
        wanted.expires_at = at.toISOString();
      }
      const made = await change("POST", KEYS, { json: wanted });
      return () => show(made, "The key is made", reload);
    },
  });
}

function rotate(key, me, reload) {
  const overlap = h("input", { value: "1d" });
  ask({
    title: `Rotate key ${key.id}`,
    confirm: "Rotate",
    content: [h("p", {}, `The key of ${key.tenant} gets a new secret.`), field("The old one holds for", overlap, "Such as 1h or 1d; 0 ends it now."),
      key.id === me.key && notice("warn", "You are signed in with this key: your session ends with its old secret.")],
    act: async () => {
      const lasts = format.seconds(overlap.value);
      if (Number.isNaN(lasts)) throw new Error("Say how long like 1h or 1d.");
      const made = await change("POST", `${KEYS}/${key.id}/rotate`, { json: { overlap: lasts } });
      return () => show(made, "The key has a new secret", reload);
    },
  });
}

function revoke(key, me, reload) {
  ask({
    title: `Revoke key ${key.id}`,
    confirm: "Revoke",
    danger: true,
    content: [h("p", {}, `The key${key.tenant ? ` of ${key.tenant}` : ""} stops working on all replicas within two seconds. This cannot be undone.`),
      key.id === me.key && notice("warn", "You are signed in with this key: your session ends too.")],
    act: async () => {
      await change("DELETE", `${KEYS}/${key.id}`);
      toast(`Key ${key.id} is revoked.`);
      reload();
    },
  });
}

/** The one moment at which a secret can be read: only its own button closes it, and it outlasts the session, which its
 * own making may have ended. */
function show(made, title, reload) {
  const secret = h("code", { class: "secret", tabindex: "0" }, made.key);
  const word = h("span", {}, "Copy");
  const copying = workButton({}, [icon("copy"), word], async () => { word.textContent = await copy(secret); });
  const close = h("button", { class: "button primary", type: "button", onclick: () => dialog.close() }, "I have it");
  const stay = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    close.focus();
  };
  const dialog = h("dialog", { class: "once", "aria-label": title, closedby: "none", onkeydown: stay, onclose: () => { secret.textContent = ""; } },
    h("div", { class: "body" }, h("h2", {}, title), notice("warn", "Copy it now: it is shown this once and kept nowhere."),
      h("pre", { class: "code" }, secret), h("div", { class: "buttons end" }, copying, close)));
  open(dialog);
  reload();
}
