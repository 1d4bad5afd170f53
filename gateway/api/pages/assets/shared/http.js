// Requests to the gateway. What it refuses comes as a Problem (RFC 9457) with a sentence for the reader.

export class Problem extends Error {
  /** `status` is 0 where nobody answered, null where nothing was sent or no answer of the gateway came. `code` is the stable name; `reasons` and `errors` are lists, maybe empty. */
  constructor({ status, code, title, detail, reasons, errors, request_id, retryAfter }) {
    super(detail || title);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.title = title;
    this.reasons = reasons ?? [];
    this.errors = errors ?? [];
    this.requestId = request_id ?? null;
    this.retryAfter = retryAfter ?? null;
  }
}

const AWAY = {
  status: 0,
  code: "unreachable",
  title: "The gateway does not answer",
  detail: "The gateway does not answer. Is it running, and is the network up?",
};

const UNREADABLE = {
  status: null,
  code: "unreadable_file",
  title: "This file cannot be read",
  detail: "This browser cannot read it: it may be a folder, or it was changed or moved since it was chosen.",
};

const DAMAGED = {
  status: null,
  code: "damaged_answer",
  title: "The answer cannot be read",
  detail: "The answer broke off, or it is not the gateway's: something in between may have sent it.",
};

const NO_KEY = {
  status: null,
  code: "no_key",
  title: "This is no API key",
  detail: "It has characters that no key has. Typographic quotes, dots or blanks may have come with it.",
};

/** An API key as somebody typed it. Throws Problem for what is none, and no header could carry. */
export function keyOf(text) {
  const key = text.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) throw new Problem(NO_KEY);
  return key;
}

/**
 * One request. Answers the Response where it is a success. Throws Problem; an abort by `signal` stays an AbortError.
 * `json` is sent as JSON, `body` as it is.
 */
export async function send(method, path, { json, body, headers, signal } = {}) {
  const response = await fetch(path, {
    method,
    signal,
    headers: { ...(json === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    body: json === undefined ? body : JSON.stringify(json),
    credentials: "same-origin",
    referrerPolicy: "same-origin", // with a GET to its own host a page is known by its address only
    cache: "no-store",
  }).catch(async (error) => {
    if (error.name === "AbortError") throw error;
    throw new Problem(body instanceof Blob && !(await isReadable(body)) ? UNREADABLE : AWAY);
  });
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** What an answer carries. Throws Problem where it broke off or is no JSON; an abort stays an AbortError. */
export const readJson = (response) => response.json().catch(damaged);
export const readBlob = (response) => response.blob().catch(damaged);

function damaged(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem(DAMAGED);
}

const isReadable = (blob) => blob.slice(0, 1).arrayBuffer().then(() => true, () => false);

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const told = await response.json().catch(() => ({}));
  return new Problem({
    code: "unexpected",
    title: `HTTP ${response.status}`,
    detail: told.error, // the form of /v2
    ...told,
    status: response.status,
    retryAfter,
  });
}
