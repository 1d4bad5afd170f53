// Small pieces that several views use: notices, fields, dialogs, and buttons that say when they are busy.

import { h, holdFocus } from "../shared/dom.js";
import { icon } from "../shared/icons.js";

/** A sentence about what went wrong or well; read aloud when it appears. */
export function notice(kind, ...content) {
  const shown = { bad: "warning", warn: "warning", good: "check", info: "info" }[kind];
  return h("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, icon(shown), h("div", {}, content));
}

/** A problem in plain words, with the reasons and fields that it carries. */
export function problemNotice(problem) {
  const list = [
    ...problem.reasons ?? [],
    ...(problem.errors ?? []).map((error) => `${error.pointer.replace(/^\//, "")}: ${error.detail}`),
  ];
  return notice(
    "bad",
    h("p", {}, words(problem)),
    list.length > 0 && h("ul", { class: "reasons" }, list.map((text) => h("li", {}, text))),
    problem.requestId && h("p", { class: "small muted" }, "Request ", h("code", {}, problem.requestId)),
  );
}

const WORDS = {
  precondition_failed: "Somebody else changed this route meanwhile. It is shown as it stands now; look at it, and try again if you still want to.",
  preflight_failed: "The pre-flight says no: this version is not fit for traffic.",
  model_unavailable: "Triton does not answer, or has not loaded this model.",
  upstream_unavailable: "Triton does not answer.",
  invalid_token: "Your session is over. Sign in again.",
  unauthenticated: "Your session is over. Sign in again.",
  session_changed: "Somebody signed in with another key in this browser. Nothing was done.",
};

const words = (problem) => WORDS[problem.code] ?? problem.message;

/** A button that is disabled while its work runs. `work` may throw: what it does about that is its own business. */
export function workButton(props, content, work) {
  const button = h("button", { type: "button", ...props, class: `button ${props.class ?? ""}` }, content);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try { await work(); } finally { button.removeAttribute("aria-busy"); }
  });
  return button;
}

let fields = 0;

/** A labelled control. */
export function field(label, control, hint) {
  const id = `field-${++fields}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h("div", { class: "field" }, h("label", { for: id }, label), control,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint));
}

/** Shows a dialog above the page; when it closes, what had the focus has it again, or what was drawn in its place. */
export function open(dialog) {
  const giveBack = holdFocus();
  dialog.addEventListener("close", () => {
    dialog.remove();
    giveBack();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * A dialog with a form. `act` runs on submit: it may throw a Problem, which is shown, and the dialog stays; otherwise
 * it closes, and what `act` answers is called, if anything. `danger` colours the button.
 */
export function ask({ title, content = [], confirm, danger = false, act }) {
  const trouble = h("div", {});
  const heading = h("h2", { id: `dialog-${++fields}` }, title);
  const submit = h("button", { class: `button ${danger ? "danger" : "primary"}`, type: "submit" }, confirm);
  const form = h("form", { method: "dialog" }, heading, content, trouble,
    h("div", { class: "buttons end" },
      h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Cancel"), submit));
  const dialog = h("dialog", { "aria-labelledby": heading.id }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      const then = await act();
      dialog.close();
      then?.();
    } catch (problem) {
      trouble.replaceChildren(problemNotice(problem));
    } finally {
      submit.disabled = false;
    }
  });
  open(dialog);
}

/** A word at the lower edge, for a few seconds. */
export function toast(text) {
  const shown = h("div", { class: "toast", role: "status" }, icon("check"), text);
  document.body.append(shown);
  setTimeout(() => shown.remove(), 5000);
}
