// The door: an administration key goes in once, a session comes out.

import { fill, h } from "../shared/dom.js";
import { keyOf } from "../shared/http.js";
import { signIn } from "./admin.js";
import { field, notice, problemNotice } from "./parts.js";

const WRONG = {
  invalid_key: "This is no key of this gateway, or it has expired or was revoked.",
  forbidden: "This key administers nothing. Use one with a scope that begins with admin:.",
};

/** Calls `entered` with who it is. `ended` is the code of why a session has just ended, null where none has. */
export function signin(entered, ended) {
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "gw_…" });
  const trouble = h("div", {}, ended && farewell(ended));
  const submit = h("button", { class: "button primary", type: "submit" }, "Sign in");
  const form = h("form", { class: "card signin", method: "post" },
    h("h1", {}, "Sign in to the console"),
    h("p", { class: "muted" }, "With an API key that administers: it has one of the scopes ",
      h("code", {}, "admin:canary"), ", ", h("code", {}, "admin:models"), " or ", h("code", {}, "admin:keys"), "."),
    trouble, field("API key", key, "It is sent once and not kept; a cookie that no script can read takes its place for eight hours."),
    submit);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      const me = await signIn(keyOf(key.value));
      key.value = "";
      entered(me);
    } catch (problem) {
      fill(trouble, WRONG[problem.code] ? notice("bad", WRONG[problem.code]) : problemNotice(problem));
      key.focus();
    } finally {
      submit.disabled = false;
    }
  });
  return { element: h("div", { class: "door" }, form), focus: () => key.focus() };
}

function farewell(ended) {
  if (ended !== "session_changed") return notice("info", "Your session is over. Sign in again to go on.");
  return notice("warn", h("p", {}, "Somebody signed in with another key in this browser, and your session is over."),
    h("button", { class: "button", type: "button", onclick: () => location.reload() }, "Go on with that key"));
}
