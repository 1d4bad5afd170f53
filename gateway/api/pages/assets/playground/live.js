// Live detection: pictures of the camera go over a WebSocket, and each answer calls for the next.

import { Problem } from "../shared/http.js";

const UNDER_WAY = 2; // frames; one on the wire while one is with the model
const LONGEST_SIDE = 640; // pixels; a picture on a screen need not be finer, and the gateway scales it anyway
const QUALITY = 0.8;

export class Live {
  #socket = null;
  #sent = new Map(); // frame number -> when
  #answers = []; // when, of the last seconds
  #dropped = 0;
  #number = 0;
  #canvas = document.createElement("canvas");

  /** `on` has `result(told, size, figures)`, `problem(problem)` and `end(problem or null)`. */
  constructor(video, on) {
    this.video = video;
    this.on = on;
  }

  get running() {
    return this.#socket !== null;
  }

  start(session, path, options) {
    this.stop();
    const socket = session.socket(path);
    this.#socket = socket;
    this.#sent.clear();
    this.#answers = [];
    [this.#number, this.#dropped] = [0, 0];
    let last = null;
    socket.onopen = () => {
      socket.send(JSON.stringify(options));
      for (let each = 0; each < UNDER_WAY; each++) this.#next(socket);
    };
    socket.onmessage = ({ data }) => {
      const told = JSON.parse(data);
      if (told.type === "problem") {
        const problem = this.#trouble(told);
        if (!told.frame) last = problem; // about the stream; of a frame it says nothing about how the stream ends
      } else this.#heard(told);
      if (told.frame) for (let each = 0; each <= told.dropped; each++) this.#next(socket);
    };
    socket.onclose = ({ code }) => {
      if (this.#socket !== socket) return; // it was stopped here
      this.#socket = null;
      this.on.end(last ?? ended(code));
    };
  }

  stop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** The camera's picture as it is now, as a JPEG file. */
  async snapshot(name = "camera.jpg") {
    return new File([await this.#picture(Infinity)], name, { type: "image/jpeg" });
  }

  async #next(socket) {
    const picture = await this.#picture(LONGEST_SIDE);
    if (socket.readyState !== WebSocket.OPEN || this.#socket !== socket) return;
    this.#sent.set(++this.#number, performance.now());
    socket.send(picture);
  }

  #picture(longest) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, longest / Math.max(videoWidth, videoHeight));
    this.#canvas.width = Math.round(videoWidth * scale);
    this.#canvas.height = Math.round(videoHeight * scale);
    this.#canvas.getContext("2d").drawImage(this.video, 0, 0, this.#canvas.width, this.#canvas.height);
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/jpeg", QUALITY));
  }

  #heard(told) {
    const now = performance.now();
    const round = now - (this.#sent.get(told.frame) ?? now);
    for (const number of [...this.#sent.keys()]) if (number <= told.frame) this.#sent.delete(number);
    this.#dropped += told.dropped;
    this.#answers = [...this.#answers, now].filter((at) => now - at < 3000);
    const seconds = (now - this.#answers[0]) / 1000;
    const rate = seconds > 0.2 ? (this.#answers.length - 1) / seconds : null;
    const size = { width: this.#canvas.width, height: this.#canvas.height };
    this.on.result(told, size, { frame: told.frame, rate, round, triton: told.timing.triton, dropped: this.#dropped });
  }

  #trouble({ problem, retry_after }) {
    const told = new Problem({ ...problem, retryAfter: retry_after });
    this.on.problem(told);
    return told;
  }
}

function ended(code) {
  const detail = code === 1012 ? "The gateway restarts." : "The connection was closed.";
  return new Problem({ status: 0, code: "unreachable", title: "The stream ended", detail });
}
