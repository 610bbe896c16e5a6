// The server's answers and refusals as values and errors.

/** The server refused: its words, and the field they are about. */
export class Refused extends Error {
  constructor(message, field = null, status = 400) {
    super(message);
    this.field = field;
    this.status = status;
  }
}

/** The server is full; it asks to come back after `wait` ms. */
export class Busy extends Error {
  constructor(wait) {
    super("the server is busy");
    this.wait = wait;
  }
}

/** Nobody answered. */
export class Unreachable extends Error {}

const PATIENCE = 60000; // ms for one answer
const LONGEST_WAIT = 30000; // ms that a Retry-After may ask for

const inOneLine = (text) => String(text).replace(/\s+/g, " ").trim().slice(0, 500);

async function refusal(response) {
  if (response.status === 503) {
    const seconds = Number.parseFloat(response.headers.get("Retry-After") ?? "1");
    const wait = Number.isFinite(seconds) ? seconds * 1000 : 1000;
    return new Busy(Math.min(Math.max(wait, 50), LONGEST_WAIT));
  }
  let reply = null;
  try {
    reply = await response.json();
  } catch {
    // no JSON: a proxy's page, say
  }
  const text = inOneLine(reply?.error || `the server answered ${response.status}`);
  return new Refused(text, typeof reply?.field === "string" ? reply.field : null, response.status);
}

/**
 * The server's endpoints.
 *
 * @param token from the page's address, or null.
 * @param fetcher stands in for `fetch` in tests.
 */
export function createApi({ token = null, fetcher = (...args) => fetch(...args) } = {}) {
  async function ask(path, options = {}, signal = undefined) {
    const headers = { ...options.headers, ...(token ? { "X-Studio-Token": token } : {}) };
    const limits = [AbortSignal.timeout(PATIENCE), ...(signal ? [signal] : [])];
    let response;
    try {
      response = await fetcher(path, { ...options, headers, signal: AbortSignal.any(limits) });
      if (response.ok) return await (options.read ?? ((one) => one.json()))(response);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Unreachable(inOneLine(error.message));
    }
    throw await refusal(response);
  }

  const post = (name, body, signal, read) =>
    ask(
      `/api/${name}`,
      {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: typeof body === "string" ? body : JSON.stringify(body),
        read,
      },
      signal,
    );

  // The browser keeps pictures for ever: another model, served here later, has another path.
  const patch = (model, id, what) =>
    `/api/versions/${model.version}/patches/${id}${what}?model=${model.id}`;

  return {
    token,
    model: (signal) => ask("/api/model", {}, signal),
    post, // layout, compose, candidates
    open: (document, signal) => post("open", { document }, signal),
    exported: (body, signal) => post("export", body, signal, (one) => one.blob()),
    own: (file, type, signal) =>
      ask("/api/own", { method: "POST", headers: { "Content-Type": type }, body: file }, signal),
    neighbours: (model, id, licences, signal) => {
      const filter = licences === null ? "" : `&licences=${encodeURIComponent(licences.join(","))}`;
      return ask(`${patch(model, id, "/neighbours")}${filter}`, {}, signal);
    },
    patchUrl: (model, id) => patch(model, id, ".png"),
    patchBlob: (url, signal) => ask(url, { read: (one) => one.blob() }, signal),
  };
}
