import assert from "node:assert/strict";
import test from "node:test";
import { moved, placeInWords, resized, towards, under, withNumber } from "../src/geometry.js";

test("a moved box stays whole inside the picture", () => {
  assert.deepEqual(moved([0.1, 0.1, 0.4, 0.5], 0.2, 0.1), [0.3, 0.2, 0.6, 0.6]);
  assert.deepEqual(moved([0.1, 0.1, 0.4, 0.5], -5, 5), [0, 0.6, 0.3, 1]);
});

test("a handle moves only its own sides, never past the opposite ones", () => {
  assert.deepEqual(resized([0.2, 0.2, 0.6, 0.6], "se", 0.1, -0.1), [0.2, 0.2, 0.7, 0.5]);
  assert.deepEqual(resized([0.2, 0.2, 0.6, 0.6], "n", 0.3, 0.1), [0.2, 0.3, 0.6, 0.6]);
  assert.deepEqual(resized([0.2, 0.2, 0.6, 0.6], "w", 9, 0), [0.58, 0.2, 0.6, 0.6]);
});

test("numbers that do not fit are fitted", () => {
  assert.deepEqual(withNumber([0.2, 0.2, 0.6, 0.6], "x", 0.3), [0.3, 0.2, 0.7, 0.6]);
  assert.deepEqual(withNumber([0.2, 0.2, 0.6, 0.6], "x", 0.9), [0.9, 0.2, 1, 0.6]);
  assert.deepEqual(withNumber([0.2, 0.2, 0.6, 0.6], "height", 0.9), [0.2, 0.1, 0.6, 1]);
  assert.deepEqual(withNumber([0.2, 0.2, 0.6, 0.6], "width", 0), [0.2, 0.2, 0.22, 0.6]);
});

test("the smallest box under a point comes first", () => {
  const boxes = [[0, 0, 1, 1], null, [0.4, 0.4, 0.6, 0.6], [0.3, 0.3, 0.7, 0.7]];
  assert.deepEqual(under(boxes, [0.5, 0.5]), [2, 3, 0]);
  assert.deepEqual(under(boxes, [0.1, 0.1]), [0]);
  assert.deepEqual(under(boxes, [0.5, 0.5], 0), [2, 3, 0], "a small one on a large chosen one");
  const alike = [[0, 0, 0.5, 0.5], [0.1, 0.1, 0.6, 0.6], [0.2, 0.2, 0.65, 0.65]];
  assert.deepEqual(under(alike, [0.4, 0.4]), [2, 1, 0]);
  assert.deepEqual(under(alike, [0.4, 0.4], 0), [0, 2, 1], "the chosen one, of a similar size");
});

test("an arrow leaves its box at the edge", () => {
  assert.deepEqual(towards([0, 0, 0.2, 0.2], [0.9, 0.1]), [0.2, 0.1]);
});

test("a place in words", () => {
  const words = "30 % from left, 0 % from top, 20 % wide, 100 % high";
  assert.equal(placeInWords([0.3, 0, 0.5, 1]), words);
});
