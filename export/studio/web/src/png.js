// A text in a PNG file: one iTXt chunk before the end, without compression.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const MOST_TEXT = 4 * 1024 * 1024; // bytes
export const KEYWORD = "rgan_studio";

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** The checksum of a chunk's type and data. */
export function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

export const isPng = (bytes) => SIGNATURE.every((byte, position) => bytes[position] === byte);

/** {type, start, size, end} of each chunk; stops where the file is cut. */
function chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = [];
  let at = SIGNATURE.length;
  while (at + 12 <= bytes.length) {
    const size = view.getUint32(at);
    const end = at + 12 + size;
    if (end > bytes.length) break;
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    found.push({ type, start: at, size, end, crc: view.getUint32(end - 4) });
    at = end;
  }
  return found;
}

/** The file with a text in it. @throws if the bytes are not a whole PNG */
export function withText(bytes, text, keyword = KEYWORD) {
  const last = isPng(bytes) ? chunks(bytes).find(({ type }) => type === "IEND") : undefined;
  if (!last) throw new Error("not a whole PNG");
  const words = new TextEncoder();
  // keyword, 0, not compressed, method 0, no language, no translated keyword, text
  const data = [...words.encode(`iTXt${keyword}`), 0, 0, 0, 0, 0];
  const content = words.encode(text);
  const body = new Uint8Array(data.length + content.length);
  body.set(data);
  body.set(content, data.length);
  const result = new Uint8Array(bytes.length + body.length + 8);
  const view = new DataView(result.buffer);
  result.set(bytes.subarray(0, last.start));
  view.setUint32(last.start, body.length - 4);
  result.set(body, last.start + 4);
  view.setUint32(last.start + 4 + body.length, crc32(body));
  result.set(bytes.subarray(last.start), last.start + 8 + body.length);
  return result;
}

/** The text in a PNG file, or null. Compressed or damaged chunks count as absent. */
export function textOf(bytes, keyword = KEYWORD) {
  if (!isPng(bytes)) return null;
  for (const { type, start, size, crc } of chunks(bytes)) {
    if (type !== "iTXt" || size > MOST_TEXT) continue;
    if (crc32(bytes.subarray(start + 4, start + 8 + size)) !== crc) continue;
    const data = bytes.subarray(start + 8, start + 8 + size);
    const end = data.indexOf(0);
    const name = new TextDecoder("latin1").decode(data.subarray(0, end));
    if (end < 0 || name !== keyword || data[end + 1] !== 0) continue;
    const language = data.indexOf(0, end + 3);
    const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
    if (translated < 0) continue;
    return new TextDecoder().decode(data.subarray(translated + 1));
  }
  return null;
}
