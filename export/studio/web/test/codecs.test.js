import assert from "node:assert/strict";
import test from "node:test";
import { deflateRawSync, deflateSync } from "node:zlib";
import { fromBase64, fromBase64Url, toBase64, toBase64Url } from "../src/base64.js";
import { decodeLink, encodeLink, readFragment } from "../src/link.js";
import { crc32, textOf, withText } from "../src/png.js";

const DOT = fromBase64(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
);

test("base64 for bytes of any number, in links without + / =", () => {
  for (const size of [0, 1, 2, 3, 100000]) {
    const bytes = Uint8Array.from({ length: size }, (_, at) => (at * 31) % 256);
    assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
    assert.deepEqual(fromBase64Url(toBase64Url(bytes)), bytes);
    assert.match(toBase64Url(bytes), /^[\w-]*$/);
  }
  assert.throws(() => fromBase64Url("a b"));
});

test("a scene comes back from its link", async () => {
  const scene = { objects: ["sky", "Bäume", "木"], boxes: [null, [0, 0.5, 1, 1], null] };
  const text = await encodeLink(scene);
  assert.match(text, /^[\w-]+$/);
  assert.deepEqual(await decodeLink(text), scene);
});

test("a full scene of 16 objects and 32 relations fits into 2000 characters", async () => {
  const names = Array.from({ length: 16 }, (_, at) => `category ${(at * 7919) % 171}`);
  const document = {
    kind: "rgan_studio",
    version: 1,
    model: { version: 3, weights: "3f".repeat(32), bank: "a9".repeat(32) },
    graph: {
      objects: names,
      relationships: Array.from({ length: 32 }, (_, at) => [at % 16, "left of", (at * 5 + 1) % 16]),
      boxes: names.map((_, at) => [0, 1, 2, 3].map((k) => ((at * 617 + k * 7919) % 9973) / 1e4)),
      patches: names.map((_, at) => (at * 7907) % 51832),
    },
    studio: { locks: [1], kept: {}, draw: { mode: "sample", seed: 3, temperature: 1 }, licences: null },
  };
  assert.ok((await encodeLink(document)).length < 1900);
});

test("a text that is not a link of a scene is refused", async () => {
  await assert.rejects(decodeLink("!!!"));
  await assert.rejects(decodeLink("AAAA"));
  await assert.rejects(decodeLink(toBase64Url(deflateSync("{}")))); // another container
  await assert.rejects(decodeLink(toBase64Url(deflateRawSync("{")))); // cut JSON
  await assert.rejects(decodeLink(toBase64Url(deflateRawSync(Buffer.from([0xff, 0xfe])))));
  const bomb = toBase64Url(deflateRawSync(Buffer.alloc(2 ** 20, 32)));
  assert.ok(bomb.length < 2000);
  await assert.rejects(decodeLink(bomb), /large/);
  await assert.rejects(decodeLink("A".repeat(20000)), /long/);
});

test("the fields of a fragment", () => {
  assert.equal(readFragment("#token=a%20b&g=x-_y").get("token"), "a b");
  assert.equal(readFragment("#token=a&g=x-_y").get("g"), "x-_y");
  assert.equal(readFragment("").get("g"), null);
});

test("the checksum of PNG chunks", () => {
  assert.equal(crc32(new TextEncoder().encode("IEND")), 0xae426082);
});

test("a text goes into a PNG and comes back; the picture's own chunks stay", () => {
  const text = JSON.stringify({ name: "Möwe 鷗" });
  const file = withText(DOT, text);
  assert.equal(textOf(file), text);
  assert.equal(textOf(file, "other"), null);
  assert.equal(textOf(DOT), null);
  assert.deepEqual(file.subarray(0, DOT.length - 12), DOT.subarray(0, DOT.length - 12));
  assert.deepEqual(file.subarray(-12), DOT.subarray(-12));
});

test("damaged, cut or foreign files have no text", () => {
  const file = withText(DOT, "hello");
  const damaged = file.slice();
  damaged[file.length - 20] ^= 1;
  assert.equal(textOf(damaged), null);
  for (let length = 0; length < file.length - 12; length += 1) {
    assert.equal(textOf(file.subarray(0, length)), null);
  }
  assert.throws(() => withText(DOT.subarray(0, 30), "x"));
  assert.throws(() => withText(new Uint8Array(50), "x"));
});
