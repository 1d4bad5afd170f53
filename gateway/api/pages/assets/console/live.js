// What the gateway streams, followed for as long as the page is open: routes, reports, traffic, and its health.

import { ask } from "./admin.js";

const FIRST_WAIT = 500; // ms before the stream is tried again, doubled each time
const LONGEST_WAIT = 5000;
const SETTLED = 5000; // ms after which a stream counts as one that worked: a gateway that stops ends each at once
const SILENCE = 20_000; // ms without a byte, after which the connection counts as dead; the gateway speaks each 15 s
const HEALTH_INTERVAL = 3000;

/**
 * One stream. Dispatches the gateway's own events (`route`, `report`, `traffic`) with the data as `detail`, and
 * `connection` with true or false.
 */
export class Stream extends EventTarget {
  #stop = new AbortController();

  constructor(model) {
    super();
    this.#run(model ? `/admin/v1/events?model=${encodeURIComponent(model)}` : "/admin/v1/events");
  }

  close() {
    this.#stop.abort();
  }

  async #run(path) {
    let wait = FIRST_WAIT;
    while (!this.#stop.signal.aborted) {
      const began = performance.now();
      try {
        await this.#follow(path);
      } catch (problem) {
        if (this.#stop.signal.aborted) return;
        this.#say("connection", false);
        if (problem.status === 401) return;
      }
      if (performance.now() - began > SETTLED) wait = FIRST_WAIT;
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(2 * wait, LONGEST_WAIT);
    }
  }

  async #follow(path) {
    const dead = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, dead.signal]);
    const response = await ask("GET", path, { signal });
    this.#say("connection", true);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const timer = setTimeout(() => dead.abort(), SILENCE);
      const { value, done } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return; // the gateway ends each stream after some minutes
      text += value;
      const events = text.split(/\r?\n\r?\n/);
      text = events.pop();
      events.forEach((event) => this.#take(event));
    }
  }

  #take(text) {
    const fields = Object.fromEntries(text.split(/\r?\n/).map((line) => line.split(/: ?(.*)/s)));
    if (fields.event && fields.data) this.#say(fields.event, JSON.parse(fields.data));
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Calls `told` with the parts of /readyz every few seconds, with null where nobody answers. Answers how to stop. */
export function followHealth(told) {
  const stop = new AbortController();
  const look = async () => {
    while (!stop.signal.aborted) {
      told(await parts(stop.signal));
      await new Promise((resolve) => setTimeout(resolve, HEALTH_INTERVAL));
    }
  };
  look();
  return () => stop.abort();
}

/** A gateway that is not ready answers 503, and says why. */
async function parts(signal) {
  try {
    const response = await fetch("/readyz", { signal, cache: "no-store" });
    return (await response.json()).parts;
  } catch {
    return null;
  }
}
