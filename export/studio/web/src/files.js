// Pictures and files on their way out of the page.
import { fromBase64 } from "./base64.js";
import { withText } from "./png.js";

/** Offers a blob as a download. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export const pngUrl = (base64) => `data:image/png;base64,${base64}`;

async function enlarged(base64, times, smooth) {
  const image = await createImageBitmap(new Blob([fromBase64(base64)], { type: "image/png" }));
  const canvas = document.createElement("canvas");
  canvas.width = image.width * times;
  canvas.height = image.height * times;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new Uint8Array(await blob.arrayBuffer());
}

/**
 * The picture as a PNG file; at 1 x its bytes are the server's.
 *
 * @param text goes into the file, or null.
 */
export async function pictureFile(base64, { times, smooth, text = null }) {
  const bytes = times === 1 ? fromBase64(base64) : await enlarged(base64, times, smooth);
  return new Blob([text === null ? bytes : withText(bytes, text)], { type: "image/png" });
}

/** SHA-256 in hexadecimal digits of a text. */
export async function checksum(text) {
  if (!globalThis.crypto?.subtle) {
    // not a secure context (plain http beyond loopback): any name that tells texts apart will do
    let [one, other] = [0x811c9dc5, 0x1000193];
    for (let at = 0; at < text.length; at += 1) {
      one = Math.imul(one ^ text.charCodeAt(at), 0x01000193);
      other = Math.imul(other ^ text.charCodeAt(at), 0x85ebca6b);
    }
    return `${(one >>> 0).toString(16)}${(other >>> 0).toString(16)}${text.length}`;
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
