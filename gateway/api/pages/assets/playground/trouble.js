// What went wrong, in plain words, with its page, and with a countdown where waiting helps.

import { h } from "../shared/dom.js";

const WORDS = {
  0: "The gateway does not answer. It may be restarting, or the network is down.",
  401: "This key or token is not accepted. It may be wrong, revoked or expired.",
  403: "This key is not allowed to do that.",
  404: "There is no such model or version, or this key may not use it.",
  413: "This is larger than the gateway takes.",
  415: "This kind of file is not taken. Send a JPEG, PNG or WebP.",
  422: "The gateway cannot read this.",
  429: "Your quota is spent for the moment.",
  502: "The model failed on this request.",
  503: "The model cannot be reached at the moment.",
  504: "The answer took too long.",
};

/** `again`, where given, is what the button does; it waits for the countdown. */
export function trouble(problem, again) {
  const button = again && h("button", { class: "button", type: "button", onclick: again }, "Try again");
  const clock = h("span", { class: "number" });
  const notice = h(
    "div",
    { class: `notice ${problem.status === 429 || problem.status === 503 ? "warn" : "bad"}`, role: "alert", dataset: { code: problem.code } },
    h(
      "div",
      { class: "words" },
      h("strong", {}, WORDS[problem.status] ?? problem.title ?? "Something went wrong."),
      h("span", {}, problem.message, clock),
      problem.errors?.map(({ pointer, detail }) => h("span", { class: "small" }, h("code", {}, pointer), ` ${detail}`)),
      h(
        "span",
        { class: "small muted" },
        problem.status && problem.code !== "unexpected" && h("a", { href: `/problems/${problem.code}` }, `What ${problem.code} means`),
        problem.requestId && ` · request ${problem.requestId}`,
      ),
    ),
    button && h("div", { class: "end" }, button),
  );
  if (problem.retryAfter) countDown(problem.retryAfter, clock, button);
  return notice;
}

function countDown(seconds, clock, button) {
  const until = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    if (button) button.disabled = left > 0;
    clock.textContent = left > 0 ? ` You can go on in ${left} s.` : " You can go on now.";
    if (left <= 0) clearInterval(timer);
  };
  const timer = setInterval(tick, 250);
  tick();
}
