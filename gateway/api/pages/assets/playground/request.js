// What is asked, once, for everything that shows it or does it: the page's own call and the snippets.

import { readJson } from "../shared/http.js";

/** `input` is `{file}` or `{text}`; `options` has `version`, `min_score` and `top_k`, each where it is set. */
export function requestOf(model, input, options) {
  const verb = model.task === "object-detection" ? "detect" : "classify";
  const asked = { model: model.name, ...options };
  if (input.text !== undefined) return { path: `/v1/${verb}`, json: { inputs: [{ text: input.text }], ...asked } };
  return { path: `/v1/${verb}?${new URLSearchParams(asked)}`, file: input.file };
}

/** `{data, headers, elapsed}`, the last in milliseconds as this page saw it. Throws Problem. */
export async function perform(session, request, signal) {
  const began = performance.now();
  const sent = request.json
    ? { json: request.json }
    : { body: request.file, headers: { "Content-Type": request.file.type } };
  const response = await session.send("POST", request.path, { ...sent, signal });
  const data = await readJson(response);
  return { data, headers: response.headers, elapsed: performance.now() - began };
}
