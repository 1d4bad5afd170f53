// How the callers are split between stable version and canary: as it is, as it would be, and what the pre-flight says.

import { fill, h, refill } from "../shared/dom.js";
import { routes } from "./admin.js";
import * as format from "./format.js";
import { field, notice, problemNotice, toast, workButton } from "./parts.js";

const FULL = 10_000; // basis points

export function split(store, model, versions) {
  const bar = h("div", { class: "split", role: "img" });
  const slider = h("input", { type: "range", min: "0", max: "100", step: "1", class: "weight" });
  const exact = h("input", { type: "number", min: "0", max: "100", step: "0.01", required: true, inputmode: "decimal", class: "exact" });
  const canary = h("select", {});
  const answer = h("div", { class: "answer", "aria-live": "polite" });
  const apply = workButton({ disabled: true }, "No change", send);
  const reset = h("button", { class: "button quiet", type: "button", hidden: true, onclick: () => draft(null) }, "Reset");
  const controls = h("fieldset", { class: "controls", disabled: true },
    h("legend", { class: "visually-hidden" }, "Change the split"),
    field("Canary", canary), field("Weight of the canary", slider), field("Percent", exact),
    h("div", { class: "buttons" }, apply, reset));
  const element = h("section", { class: "card", "aria-label": "Traffic split" },
    h("header", {}, h("h2", {}, "Traffic split")), h("div", { class: "body stack" }, bar, controls, answer));

  let wanted = null; // { canary, weight } while it differs from the route
  let checked = null; // { canary, passed }
  let asking = 0;

  slider.addEventListener("input", () => draft({ weight: Math.round(slider.value * 100) }));
  exact.addEventListener("input", () => {
    if (exact.validity.valid) draft({ weight: Math.round(exact.valueAsNumber * 100) }, exact);
    else update(exact);
  });
  canary.addEventListener("change", () => draft({ canary: canary.value || null }));
  for (const control of [slider, exact, canary]) control.addEventListener("change", check);

  const route = () => store.routes.get(model);

  function draft(change, source) {
    const now = route();
    const next = change && { canary: wanted ? wanted.canary : now.canary, weight: wanted ? wanted.weight : now.weight, ...change };
    if (next && !next.canary) next.canary = suggested(now);
    const same = !next || (next.canary === now.canary && next.weight === now.weight);
    wanted = same ? null : next;
    if (!wanted) fill(answer);
    update(source);
  }

  const suggested = (now) => choices(now).at(-1) ?? null;
  const choices = (now) => versions().filter((version) => version !== now.stable);

  function update(source) {
    const now = route();
    if (!now) return;
    const shown = wanted ?? now;
    offer(now, shown.canary);
    if (source !== slider) slider.value = shown.weight / 100;
    if (source !== exact && document.activeElement !== exact) exact.value = shown.weight / 100;
    slider.style.setProperty("--at", `${shown.weight / 100}%`);
    slider.setAttribute("aria-valuetext", shown.canary ? `${format.percent(shown.weight)} to version ${shown.canary}` : "no canary");
    controls.disabled = now.frozen || choices(now).length === 0;
    reset.hidden = !wanted;
    exact.ariaInvalid = String(!exact.validity.valid);
    label(now);
    drawBar(now, shown);
  }

  /** Other versions than the stable one; rebuilt only when they change, so that an open list stays open. */
  function offer(now, chosen) {
    const wantedOptions = [...new Set([...choices(now), ...(chosen ? [chosen] : [])])];
    const key = wantedOptions.join();
    if (canary.dataset.key !== key) {
      canary.dataset.key = key;
      fill(canary, wantedOptions.length === 0 && h("option", { value: "" }, "none loaded"),
        !chosen && wantedOptions.length > 0 && h("option", { value: "" }, "none"),
        wantedOptions.map((version) => h("option", { value: version }, `Version ${version}`)));
    }
    canary.value = chosen ?? "";
  }

  function label(now) {
    const refused = wanted && checked?.canary === wanted.canary && !checked.passed && isMore(now, wanted);
    apply.classList.toggle("primary", wanted !== null);
    apply.disabled = !wanted || refused || now.frozen || !exact.validity.valid;
    apply.textContent = now.frozen ? "Frozen" : !exact.validity.valid ? "0 to 100, in hundredths" : !wanted ? "No change"
      : wanted.weight === 0 && now.weight === 0 ? `Name version ${wanted.canary} as canary`
        : `Send ${format.percent(wanted.weight)} to version ${wanted.canary}`;
  }

  function drawBar(now, shown) {
    const part = (version, tone, weight, role) => h("div", { class: `side ${tone}`, style: { "flex-grow": weight } },
      h("span", {}, h("b", {}, `Version ${version}`), h("small", {}, role)), h("strong", { class: "number" }, format.percent(weight)));
    refill(bar, [now.stable, shown.canary, shown.weight, wanted !== null], () => [
      part(now.stable, "stable", FULL - shown.weight, "stable"),
      shown.canary ? part(shown.canary, "canary", shown.weight, wanted ? "proposed" : "canary") : null]);
    bar.classList.toggle("draft", wanted !== null);
    bar.setAttribute("aria-label", `Version ${now.stable} ${format.percent(FULL - shown.weight)}`
      + (shown.canary ? `, version ${shown.canary} ${format.percent(shown.weight)}` : ""));
  }

  async function check() {
    if (!wanted?.canary) return;
    const now = route();
    if (!isMore(now, wanted)) {
      fill(answer, notice("info", "Less traffic for the canary needs no pre-flight."));
      return;
    }
    const turn = ++asking;
    const to = wanted.canary;
    fill(answer, notice("info", `Pre-flight: asking Triton whether version ${to} is fit for traffic…`));
    try {
      const result = await routes.check(model, to);
      if (turn !== asking || wanted?.canary !== to) return;
      checked = { canary: to, passed: result.passed };
      fill(answer, preflight(result));
    } catch (problem) {
      if (turn !== asking) return;
      checked = { canary: to, passed: false };
      fill(answer, problemNotice(problem));
    }
    update();
  }

  async function send() {
    const now = route();
    const { canary: to, weight } = wanted;
    try {
      store.route(await routes.amend(model, now.generation, { canary: to, weight }));
      wanted = null;
      fill(answer);
      toast(`Version ${to} has ${format.percent(weight)} of the traffic.`);
    } catch (problem) {
      if (problem.code === "precondition_failed") wanted = null; // what stands is to be looked at first
      fill(answer, problemNotice(problem));
    }
    update();
  }

  return { element, update };
}

const isMore = (now, wanted) => wanted.canary !== now.canary || wanted.weight > now.weight || !now.under_way;

function preflight({ passed, to, checks }) {
  const failed = checks.filter((check) => !check.passed);
  const line = (check) => h("li", { class: check.passed ? "pass" : "fail" },
    h("b", {}, check.passed ? "pass" : "fail"), h("span", {}, check.name, h("span", { class: "muted" }, `: ${check.detail}`)));
  return notice(passed ? "good" : "bad",
    h("p", {}, passed ? `Pre-flight passed: version ${to} is fit for traffic.` : `Pre-flight failed: version ${to} is not fit for traffic.`),
    failed.length > 0 && h("ul", { class: "checks" }, failed.map(line)),
    h("details", {}, h("summary", {}, `All ${checks.length} checks`), h("ul", { class: "checks" }, checks.map(line))));
}
