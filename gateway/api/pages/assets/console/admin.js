// The admin API as the console asks it: by its session, never with a key.

import { readJson, send } from "../shared/http.js";

/** Whom the page shows as signed in, as the gateway told it; null where nobody is. */
let me = null;

/** Which key's session the request is meant for; any word but an id: whosever there is. */
const asConsole = () => ({ "X-Console": me?.key ?? "1" });

/** Hears "over" when a request was refused because the session has ended, or is another key's: its code is `detail`. */
export const session = new EventTarget();

/** A request by the session; options as of `send`, and `generation`, the one that a change of a route is meant for. */
export async function ask(method, path, { generation, headers, ...options } = {}) {
  const asker = me;
  const match = generation === undefined ? {} : { "If-Match": `"${generation}"` };
  try {
    return await send(method, path, { ...options, headers: { ...asConsole(), ...match, ...headers } });
  } catch (problem) {
    if (problem.status === 401 && asker && asker === me) over(problem.code); // a late word on an earlier session ends none
    throw problem;
  }
}

function over(code) {
  me = null;
  session.dispatchEvent(new CustomEvent("over", { detail: code }));
}

export async function read(path, options) {
  return readJson(await ask("GET", path, options));
}

/** The answer's JSON, null where it has none. */
export async function change(method, path, options) {
  const response = await ask(method, path, options);
  return response.status === 204 ? null : readJson(response);
}

/** Who is signed in, null where nobody is. */
export async function whoami() {
  try {
    me = await readJson(await send("GET", "/console/session", { headers: asConsole() }));
    return me;
  } catch (problem) {
    if ([401, 403].includes(problem.status)) return null;
    throw problem;
  }
}

/** The key goes out once, in a header, and is kept nowhere. */
export async function signIn(key) {
  me = await readJson(await send("POST", "/console/session", { headers: { Authorization: `Bearer ${key}` } }));
  return me;
}

export async function signOut() {
  await ask("DELETE", "/console/session");
  me = null;
}

const path = (model, rest = "") => `/admin/v1/canaries/${encodeURIComponent(model)}${rest}`;

export const routes = {
  check: (model, to) => change("POST", path(model, "/check"), { json: { to } }),
  amend: (model, generation, wanted) => change("PATCH", path(model), { generation, json: wanted }),
  act: (model, action, generation, reason = "") =>
    change("POST", path(model, `/${action}`), { generation, json: { reason } }),
  report: (model, signal) => read(path(model, "/report"), { signal }),
  log: (model, { before, limit = 12, signal } = {}) =>
    read(path(model, `/events?limit=${limit}${before ? `&before=${encodeURIComponent(before)}` : ""}`), { signal }),
};
