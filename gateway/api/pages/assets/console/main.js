// The console: who is signed in, which view is open, and whether everything behind it answers.

import { fill, h, refill } from "../shared/dom.js";
import { read, session, signOut, whoami } from "./admin.js";
import { audit } from "./audit.js";
import { keys } from "./keys.js";
import { followHealth } from "./live.js";
import { models } from "./models.js";
import { notice, problemNotice } from "./parts.js";
import { rollouts } from "./rollouts.js";
import { signin } from "./signin.js";
import { Store } from "./store.js";
import { workers } from "./workers.js";

const VIEWS = [
  { name: "rollouts", label: "Rollouts", scope: "admin:canary", view: rollouts },
  { name: "workers", label: "Workers", scope: "admin:canary", view: workers },
  { name: "models", label: "Models", scope: "admin:models", view: models },
  { name: "keys", label: "Keys", scope: "admin:keys", view: keys },
  { name: "audit", label: "Audit", scope: null, view: audit }, // of what the scopes allow
];

const main = document.querySelector("#main");
const tabs = document.querySelector("#tabs");
const status = document.querySelector("#status");
const who = document.querySelector("#who");
const banner = document.querySelector("#banner");

let leave = () => {};

function enter(me) {
  const store = new Store();
  const offered = VIEWS.filter((view) => view.scope === null || me.scopes.includes(view.scope));
  let open = null;

  function go() {
    const [, name, ...rest] = location.hash.split("/");
    const chosen = offered.find((view) => view.name === name) ?? offered[0];
    open?.stop();
    open = chosen.view(store, rest.map(decoded), me);
    store.set({ connected: null });
    fill(main, open.element);
    fill(tabs, offered.map((view) => h("a", { href: `#/${view.name}`, "aria-current": view === chosen ? "page" : null }, view.label)));
    tabs.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = `${chosen.label} · Triton gateway`;
  }

  const draw = () => {
    drawHealth(store);
    open.update();
  };
  fill(who, h("span", { class: "small muted name" }, `${me.tenant} · ${me.key}`),
    h("button", { class: "button quiet", type: "button", onclick: out }, "Sign out"));
  go();
  const turn = () => {
    go();
    main.focus(); // whoever reads aloud is told of the new view
  };
  addEventListener("hashchange", turn);
  const seen = () => { if (!document.hidden) read("/console/session").catch(() => {}); }; // "over" says the rest
  document.addEventListener("visibilitychange", seen);
  const stops = [store.subscribe(draw), followHealth((parts) => store.set({ health: parts }))];
  leave = () => {
    removeEventListener("hashchange", turn);
    document.removeEventListener("visibilitychange", seen);
    stops.forEach((stop) => stop());
    open.stop();
    leave = () => {};
  };
}

/** A part of the address, as it stands where it is no encoded text. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function out() {
  try {
    await signOut();
    ask();
  } catch (problem) {
    if (problem.status !== 401) refill(banner, problem.message, () => problemNotice(problem));
  }
}

/** `ended` is why the session that was is over; without it none was. */
function ask(ended = null) {
  leave();
  fill(who);
  fill(tabs);
  refill(status, null, () => null);
  refill(banner, null, () => null);
  document.querySelectorAll("dialog:not(.once)").forEach((dialog) => dialog.close());
  const door = signin(enter, ended);
  fill(main, door.element);
  door.focus();
}

/** What is away, and what that means for who looks at the page. */
function troubles({ health, connected }) {
  if (health === null) return ["The gateway does not answer. What you see is what it said last; the page goes on by itself when it is back."];
  const found = [];
  if (health.triton === false) {
    found.push("Triton does not answer. Requests get 503 until it does. You can roll back, freeze and send less to a canary; more traffic needs a pre-flight, which cannot pass now.");
  } else if (health.models_fresh === false) {
    found.push("Triton does not say which models it has. Those that were known are served on; what was loaded or unloaded since is not seen.");
  }
  if (health.routes_fresh === false) {
    found.push("Redis does not answer. All workers go on with the routes they have; changes do not pass until it is back.");
  } else {
    if (health.changes_taken === false) {
      found.push("Redis takes no changes: it is full, is a replica, or cannot write to its disk. Callers are served, but no canary can be moved or taken back, and no key revoked.");
    }
    if (connected === false) found.push("The live view is interrupted, and is tried again.");
  }
  if (health.limits === false) {
    found.push("Quotas are not shared: Redis is slow or away, and each worker keeps its share of them by itself. A caller may get up to twice its quota, or less than it.");
  }
  return found;
}

function drawHealth(store) {
  const found = troubles(store);
  refill(banner, found, () => found.map((text) => notice("bad", text)));
  refill(status, found.length > 0, () => [
    h("span", { class: `dot ${found.length ? "bad" : "good"}` }), h("span", {}, found.length ? "Trouble" : "Live")]);
}

session.addEventListener("over", ({ detail }) => ask(detail));

try {
  const me = await whoami();
  if (me) enter(me);
  else ask();
} catch (problem) {
  fill(main, h("div", { class: "door" }, problemNotice(problem)));
}
