// The page: from a key to a bench, from an input to an answer. Each piece has a module of its own.

import { copy } from "../shared/clipboard.js";
import { fill, h } from "../shared/dom.js";
import { keyOf, readBlob, send } from "../shared/http.js";
import { answerCard, bars, verdict } from "./answer.js";
import { Live } from "./live.js";
import { redraw, sizeOf, typed } from "./picture.js";
import { watchReadiness } from "./readiness.js";
import { perform, requestOf } from "./request.js";
import { Session } from "./session.js";
import { HINTS, SNIPPETS } from "./snippets.js";
import { trouble } from "./trouble.js";

const $ = (id) => document.getElementById(id);

const SAMPLES = [["digit.png", "One digit, large"], ["three.png", "One digit, small"], ["scene.jpg", "A scene of digits"], ["scene-2.jpg", "Another scene"]];
const TEXTS = ["Vereinigte Staaten, Schweiz und Österreich", "Estados Unidos, Suíça e Áustria", "Yhdysvallat, Sveitsi ja Itävalta"];
const TASKS = {
  "image-classification": "Says what an image shows.",
  "object-detection": "Finds objects in an image.",
  "text-classification": "Says what kind a text is.",
};
const STREAMS = { "image-classification": "/v1/classify/stream", "object-detection": "/v1/detect/stream" };

const state = { session: null, models: [], model: null, input: null, shown: null, request: null, language: "curl", ending: 0 };
let asking = null; // the AbortController of the request under way
let taking = 0; // the number of the newest input: an earlier one may take longer to be read

/* From a key to the bench. */

async function enter(event) {
  event.preventDefault();
  const field = $("key");
  const button = $("key-form").querySelector("button");
  button.disabled = true;
  try {
    state.session = await Session.open(keyOf(field.value));
    state.models = await state.session.models();
    field.value = "";
    fill($("entry-notice"));
    showBench();
  } catch (problem) {
    fill($("entry-notice"), trouble(problem));
  } finally {
    button.disabled = false;
  }
}

function leave(reason = null) {
  clearTimeout(state.ending);
  state.session = null;
  closeCamera();
  asking?.abort();
  taking++;
  $("entry").hidden = false;
  for (const id of ["bench", "leave"]) $(id).hidden = true;
  fill($("entry-notice"), reason);
  $("key").focus();
}

/** Models may have come with a Triton that came back. */
async function findModels() {
  if (!state.session || state.models.length) return;
  state.models = await state.session.models().catch(() => []);
  if (state.models.length) showBench();
}

/** The bench closes when its token has run out; what is on it stays for whoever comes back. */
function ranOut() {
  leave(h("p", { class: "notice warn", role: "alert" }, "The token of 15 minutes has run out. Paste your key again to go on where you were."));
}

function showBench() {
  clearTimeout(state.ending);
  state.ending = setTimeout(ranOut, state.session.lives);
  $("entry").hidden = true;
  for (const id of ["bench", "leave"]) $(id).hidden = false;
  fill($("notice"), state.models.length ? null : h("p", { class: "notice warn", role: "alert" }, "There is no model that this key may use: none is loaded, or Triton is down."));
  const tasks = [...new Set(state.models.map(({ task }) => task))];
  const named = (task) => state.models.filter((model) => model.task === task).map(({ name }) => h("option", { value: name }, name));
  fill($("model"), tasks.map((task) => h("optgroup", { label: task.replaceAll("-", " ") }, named(task))));
  const kept = state.models.find(({ name }) => name === state.model?.name);
  choose(kept ?? state.models.find(({ task }) => task === "image-classification") ?? state.models[0]);
  if (state.input && fits(state.input)) ask();
}

/* What to ask. */

const readsText = () => state.model?.task === "text-classification";
const fits = (input) => (input.text !== undefined) === readsText();

function choose(model) {
  if (!model) return;
  state.model = model;
  $("model").value = model.name;
  $("model-hint").textContent = `${TASKS[model.task] ?? ""} ${reach(model.input)}`;
  const versions = model.versions.map((version) => h("option", { value: version }, version));
  fill($("version"), h("option", { value: "" }, "as routed"), versions.map((option) => option.cloneNode(true)));
  fill($("compare"), h("option", { value: "" }, "nothing"), versions);
  $("version-fields").hidden = !state.session.mayPin;
  $("no-pinning").hidden = state.session.mayPin;
  $("image-sources").hidden = readsText();
  $("text-source").hidden = !readsText();
  if (readsText()) closeCamera();
  $("stream").textContent = model.task === "object-detection" ? "Start live detection" : "Start live labels";
  clear();
}

/** How much of an input a model takes in; null where it sees to that itself. */
function reach(input) {
  if (input === null) return "Takes it as it comes.";
  return input.max_tokens ? `Reads up to ${input.max_tokens} tokens.` : `Sees ${input.width} × ${input.height} pixels.`;
}

function options(version) {
  const least = Number($("min-score").value);
  const most = $("top-k").value;
  return { ...(version && { version }), ...(least > 0 && { min_score: least }), ...(most && { top_k: Number(most) }) };
}

/** The versions to ask: one as routed or pinned, or two to compare. */
function versions() {
  const [one, other] = [$("version").value, $("compare").value];
  return other ? [one || state.model.default_version, other] : [one];
}

function clear() {
  asking?.abort();
  for (const id of ["notice", "results"]) fill($(id));
  for (const id of ["results", "code"]) $(id).hidden = true;
  $("empty").hidden = readsText() || !$("live").hidden;
}

/* From an input to an answer. */

async function take(found) {
  const turn = ++taking;
  const file = await typed(found);
  const url = URL.createObjectURL(file);
  const size = await sizeOf(url);
  const wanted = turn === taking && state.model;
  if (wanted && readsText()) choose(state.models.find(({ task }) => task !== "text-classification") ?? state.model);
  if (wanted && !readsText()) put({ file }, { url, alt: file.name, size });
  else URL.revokeObjectURL(url);
}

/** Asks about this from now on, which is shown like that. */
function put(input, shown) {
  taking++;
  if (state.shown?.url) URL.revokeObjectURL(state.shown.url);
  state.input = input;
  state.shown = shown;
  ask();
}

async function ask() {
  asking?.abort();
  const mine = (asking = new AbortController());
  const requests = versions().map((version) => requestOf(state.model, state.input, options(version)));
  state.request = requests[0];
  showCode();
  $("empty").hidden = true;
  $("results").classList.add("waiting");
  $("results").setAttribute("aria-busy", "true");
  try {
    const answers = await Promise.all(requests.map((request) => perform(state.session, request, mine.signal)));
    if (mine.signal.aborted) return;
    fill($("notice"));
    showAnswers(answers);
  } catch (problem) {
    if (mine.signal.aborted) return;
    if (problem.name !== "Problem") throw problem;
    if (problem.code === "invalid_token") return leave(trouble(problem));
    fill($("results"));
    $("results").hidden = true;
    fill($("notice"), trouble(problem, ask));
  } finally {
    if (asking === mine) {
      $("results").classList.remove("waiting");
      $("results").removeAttribute("aria-busy");
    }
  }
}

function showAnswers(answers) {
  const two = answers.length === 2;
  const said = two && verdict(...answers);
  $("results").classList.toggle("two", two);
  fill(
    $("results"),
    said && h("p", { class: `verdict notice ${said.agree ? "good" : "warn"}` }, said.text),
    answers.map((answer, index) => answerCard(answer, state.shown, index === 1)),
  );
  $("results").hidden = false;
  if (matchMedia("(max-width: 900px)").matches) $("results").scrollIntoView();
}

/* The same from code. */

function showCode() {
  $("code").hidden = false;
  $("snippet-text").textContent = SNIPPETS[state.language](state.request);
  $("snippet-hint").textContent = HINTS[state.language];
  $("snippet").setAttribute("aria-labelledby", `tab-${state.language}`);
}

function speak(language) {
  state.language = language;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const mine = tab.id === `tab-${language}`;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    if (mine && document.activeElement?.role === "tab") tab.focus();
  }
  showCode();
}

async function copyCode() {
  const button = $("copy");
  button.textContent = await copy($("snippet-text"));
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

/* The camera. */

const live = new Live($("video"), {
  result(told, size, figures) {
    const { detections, predictions } = told.result;
    redraw($("live-boxes"), detections ?? [], told.result.image ?? size);
    fill($("live-labels"), predictions && bars(predictions.slice(0, 5)));
    showFigures(figures);
    if ($("notice").firstChild) fill($("notice"));
  },
  problem: (problem) => fill($("notice"), trouble(problem)),
  end(problem) {
    showStreaming(false);
    if (problem.code === "invalid_token") leave(trouble(problem));
    else fill($("notice"), trouble(problem, stream));
  },
});

async function openCamera() {
  if (!state.model) return;
  try {
    const video = { width: { ideal: 1280 }, facingMode: "environment" };
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    await $("video").play();
  } catch (error) {
    const text = navigator.mediaDevices ? `The camera cannot be used: ${error.message}.` : "Browsers give a page the camera only over HTTPS or on this machine.";
    fill($("notice"), h("p", { class: "notice bad", role: "alert" }, text));
    return;
  }
  const { videoWidth, videoHeight } = $("video");
  $("video").parentElement.style.setProperty("--ratio", videoWidth / videoHeight);
  $("live").hidden = false;
  clear();
}

function closeCamera() {
  live.stop();
  showStreaming(false);
  for (const track of $("video").srcObject?.getTracks() ?? []) track.stop();
  $("video").srcObject = null;
  $("live").hidden = true;
  fill($("live-boxes"));
  fill($("live-figures"));
  fill($("live-labels"));
}

function stream() {
  if (live.running) {
    live.stop();
    showStreaming(false);
    return;
  }
  fill($("notice"));
  clear();
  live.start(state.session, STREAMS[state.model.task], { model: state.model.name, ...options($("version").value) });
  showStreaming(true);
}

function showStreaming(on) {
  const start = state.model?.task === "object-detection" ? "Start live detection" : "Start live labels";
  $("stream").textContent = on ? "Stop" : start;
  $("live-state").textContent = on ? "live" : "off";
  $("live-state").className = on ? "badge good" : "badge";
}

function showFigures({ frame, rate, round, triton, dropped }) {
  const rows = [
    ["pictures answered", frame],
    ["a second", rate === null ? "…" : rate.toFixed(1)],
    ["there and back", `${round.toFixed(0)} ms`],
    ["of it in Triton", `${(triton ?? 0).toFixed(1)} ms`],
    ["dropped for a newer one", dropped],
  ];
  fill($("live-figures"), rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
}

/* Wiring. */

function again() {
  if (live.running) {
    live.stop();
    stream();
  } else if (!$("code").hidden) ask(); // of what stands there, an answer or a refusal
}

function onFiles(files) {
  const file = [...(files ?? [])].find(({ type }) => type.startsWith("image/")) ?? files?.[0];
  if (file && state.session) take(file);
}

function wireDropping() {
  let depth = 0;
  const veil = (shown) => { $("veil").hidden = !shown || !state.session; };
  addEventListener("dragenter", () => veil(++depth > 0));
  addEventListener("dragleave", () => veil(--depth > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil(false);
    onFiles(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) onFiles(event.clipboardData.files);
  });
}

async function sample(name) {
  try {
    const blob = await readBlob(await send("GET", `/assets/samples/${name}`));
    take(new File([blob], name, { type: blob.type }));
  } catch (problem) {
    if (problem.name !== "Problem") throw problem;
    fill($("notice"), trouble(problem, () => sample(name)));
  }
}

function wireInputs() {
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { onFiles($("file").files); $("file").value = ""; });
  fill($("samples"), SAMPLES.map(([name, title]) => h("button", { type: "button", title, onclick: () => sample(name) }, h("img", { src: `/assets/samples/${name}`, alt: title }))));
  fill($("examples"), TEXTS.map((text) => h("button", { class: "button", type: "button", onclick: () => { $("text").value = text; askText(); } }, text)));
  $("text-source").addEventListener("submit", (event) => { event.preventDefault(); askText(); });
  $("text").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("text-source").requestSubmit(); });
}

function askText() {
  const text = $("text").value;
  put({ text }, { text });
}

function wireControls() {
  $("key-form").addEventListener("submit", enter);
  $("leave").addEventListener("click", () => leave());
  $("model").addEventListener("change", () => {
    const running = live.running;
    live.stop();
    const input = state.input;
    choose(state.models.find(({ name }) => name === $("model").value));
    if (running) stream();
    else if (input && fits(input) && $("live").hidden) ask();
  });
  for (const id of ["version", "compare", "top-k"]) $(id).addEventListener("change", again);
  $("min-score").addEventListener("input", () => { $("min-score-shown").textContent = Number($("min-score").value) ? $("min-score").value : "the model's own"; });
  $("min-score").dispatchEvent(new Event("input"));
  $("min-score").addEventListener("change", again);
}

function wireCode() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => speak(tab.id.slice(4)));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) speak(tabs[(index + step + tabs.length) % tabs.length].id.slice(4));
    });
  }
  $("copy").addEventListener("click", copyCode);
}

function wireCamera() {
  // Nobody looks: no quota is spent on pictures that nobody sees.
  document.addEventListener("visibilitychange", () => { if (document.hidden && live.running) stream(); });
  $("camera").addEventListener("click", openCamera);
  $("camera-off").addEventListener("click", () => { closeCamera(); clear(); });
  $("stream").addEventListener("click", stream);
  $("shoot").addEventListener("click", async () => { const file = await live.snapshot(); closeCamera(); take(file); });
}

wireControls();
wireInputs();
wireDropping();
wireCode();
wireCamera();
watchReadiness($("ready"), findModels);
