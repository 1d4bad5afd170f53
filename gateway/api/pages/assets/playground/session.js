// A key becomes a token for this page, and only the token stays: in memory, for at most 15 minutes.

import { readJson, send } from "../shared/http.js";

const PIN = "pin-version";

export class Session {
  #token;

  /** Throws Problem. */
  static async open(key) {
    const narrow = await exchange(key);
    // A token gets what it asks for; whether the key may choose versions shows in whether it can be had.
    const wide = await exchange(key, [...narrow.scopes, PIN]).catch((problem) => {
      if (problem.status === 403) return narrow;
      throw problem;
    });
    return new Session(wide);
  }

  constructor({ token, scopes, lives }) {
    this.#token = token;
    this.mayPin = scopes.includes(PIN);
    this.lives = lives; // milliseconds, from now
  }

  /** As http.js's `send`, with the token. */
  send(method, path, options = {}) {
    const headers = { ...options.headers, Authorization: `Bearer ${this.#token}` };
    return send(method, path, { ...options, headers });
  }

  async models() {
    return (await readJson(await this.send("GET", "/v1/models"))).models;
  }

  /** A WebSocket; its token travels as a subprotocol, which is the one place that a page can put it. */
  socket(path) {
    const address = new URL(path, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    return new WebSocket(address, ["gateway.stream.v1", `bearer.${this.#token}`]);
  }
}

async function exchange(key, scopes) {
  const json = { origins: [location.origin], ...(scopes && { scopes }) };
  const response = await send("POST", "/v1/tokens", { json, headers: { "X-API-Key": key } });
  const made = await readJson(response);
  // By the gateway's clock alone: this machine's may be wrong.
  return { ...made, lives: Date.parse(made.expires_at) - Date.parse(response.headers.get("Date")) };
}
