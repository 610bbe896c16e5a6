// Licences as short codes, which the server reads from their names.

/** From the freest to the strictest; what is not understood or not recorded comes last. */
export const CODES = [
  "public-domain",
  "built-in",
  "BY",
  "BY-SA",
  "BY-NC",
  "BY-NC-SA",
  "BY-ND",
  "BY-NC-ND",
  "other",
  "unknown",
];

const rank = (code) => (CODES.includes(code) ? CODES.indexOf(code) : CODES.length);

/** Codes, the most restrictive first. */
export const strictestFirst = (codes) =>
  [...new Set(codes)].sort((one, other) => rank(other) - rank(one));

/** What the licences of a composition mean, in plain words; a hint, no advice. */
export function hints(codes) {
  const parts = codes.map((code) => code.split("-"));
  const has = (part) => parts.some((all) => all.includes(part));
  const found = [];
  if (has("ND")) found.push("ND: some licences allow no changes; a composition is one.");
  if (has("NC")) found.push("NC: not for commercial use.");
  if (has("SA")) found.push("SA: pass the picture on under the same licence.");
  if (has("BY")) found.push("BY: name the sources; the ZIP has them in CREDITS.txt.");
  if (codes.includes("other") || codes.includes("unknown")) {
    found.push("Some sources have no licence that is known; look at them before you publish.");
  }
  return found;
}

/** The address if it may be a link (http or https), else null. */
export function safeUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
