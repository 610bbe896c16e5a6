// A scene in the fragment of a link: JSON, deflated, as base64url.
import { fromBase64Url, toBase64Url } from "./base64.js";

export const MOST_CHARACTERS = 2000; // of a link; longer ones are cut by mail and chat programs
const MOST_BYTES = 256 * 1024; // of the JSON, so that a small link cannot fill the memory

async function through(bytes, transform, most = Infinity) {
  const writer = transform.writable.getWriter();
  const written = (async () => {
    await writer.write(bytes);
    await writer.close();
  })();
  written.catch(() => {}); // told by the reader
  const reader = transform.readable.getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new Error("too large");
    }
    parts.push(value);
  }
  await written;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The text of a fragment's `g`. */
export async function encodeLink(value) {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return toBase64Url(await through(bytes, new CompressionStream("deflate-raw")));
}

/** What `encodeLink` got. @throws if the text is anything else, or too large */
export async function decodeLink(text) {
  if (text.length > 8 * MOST_CHARACTERS) throw new Error("too long");
  const stream = new DecompressionStream("deflate-raw");
  const bytes = await through(fromBase64Url(text), stream, MOST_BYTES);
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
}

/** The fields of a fragment: `#token=...&g=...`. */
export const readFragment = (hash) => new URLSearchParams(hash.replace(/^#/, ""));
