// Licences as short codes, as rgan_tf/bank/licences.py reads their names.

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

const WORDS = {
  attribution: "BY",
  by: "BY",
  noncommercial: "NC",
  nc: "NC",
  sharealike: "SA",
  sa: "SA",
  noderivs: "ND",
  noderivatives: "ND",
  nd: "ND",
};
const IGNORED = ["cc", "creative", "commons", "licence", "license", "generic", "international"];
const PUBLIC_DOMAIN = [
  "no known copyright restrictions",
  "united states government work",
  "public domain",
  "public domain mark",
  "public domain dedication",
  "cc0",
  "pdm",
  "public-domain",
];

/** The code of a licence's name. */
export function licenceCode(name) {
  const text = String(name ?? "").toLowerCase().split(/\s+/).filter(Boolean).join(" ");
  if (!text || text === "unknown") return "unknown";
  if (text === "built-in" || text === "procedural") return "built-in";
  if (PUBLIC_DOMAIN.includes(text) || /^cc0( 1\.0)?( .*)?$/.test(text)) return "public-domain";
  const code = text
    .split(/[\s\-_/]+/)
    .filter((word) => !/^[\d.]+$/.test(word) && !IGNORED.includes(word))
    .map((word) => (Object.hasOwn(WORDS, word) ? WORDS[word] : "?"))
    .join("-");
  return CODES.includes(code) ? code : "other";
}

/** The code of a patch as the server describes it. */
export const codeOf = (patch) => patch.code ?? licenceCode(patch.licence);

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
