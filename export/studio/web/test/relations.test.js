import assert from "node:assert/strict";
import test from "node:test";
import { derived, disagrees, GEOMETRIC, relationBetween } from "../src/relations.js";

const LEFT = [0.0, 0.4, 0.2, 0.6];
const RIGHT = [0.8, 0.4, 1.0, 0.6];
const ALL = [0.0, 0.0, 1.0, 1.0];
const MIDDLE = [0.4, 0.4, 0.6, 0.6];

test("relations by centres, containment first", () => {
  assert.equal(relationBetween(LEFT, RIGHT), "left of");
  assert.equal(relationBetween(RIGHT, LEFT), "right of");
  assert.equal(relationBetween(MIDDLE, ALL), "inside");
  assert.equal(relationBetween(ALL, MIDDLE), "surrounding");
  assert.equal(relationBetween([0.4, 0, 0.6, 0.1], MIDDLE), "above");
  assert.equal(relationBetween(MIDDLE, [0.4, 0, 0.6, 0.1]), "below");
});

test("boxes deny what is the other way round, and nothing else", () => {
  assert.ok(disagrees("left of", RIGHT, LEFT));
  assert.ok(!disagrees("left of", LEFT, RIGHT));
  assert.ok(disagrees("right of", LEFT, RIGHT));
  assert.ok(disagrees("inside", LEFT, RIGHT));
  assert.ok(disagrees("surrounding", MIDDLE, ALL));
  assert.ok(!disagrees("above", LEFT, RIGHT), "equal heights deny nothing");
  assert.ok(!disagrees("riding", RIGHT, LEFT), "boxes do not show it");
});

test("relations from boxes: what is denied is replaced, what is missing is added", () => {
  const boxes = [LEFT, RIGHT, MIDDLE, ALL];
  const found = derived(boxes, [[0, "right of", 1]], GEOMETRIC, 16);
  assert.deepEqual(found.relationships, [
    [0, "left of", 1],
    [2, "inside", 3],
  ]);
  assert.deepEqual([found.added, found.changed], [1, 1]);
});

test("a relation that boxes do not show stays; the limit holds", () => {
  const kept = derived([LEFT, RIGHT], [[0, "riding", 1]], GEOMETRIC, 16);
  assert.deepEqual(kept, { relationships: [[0, "riding", 1]], added: 0, changed: 0 });
  const full = derived([LEFT, RIGHT, MIDDLE], [[0, "left of", 1]], GEOMETRIC, 1);
  assert.equal(full.added, 0);
  assert.equal(derived([LEFT, RIGHT], [], ["riding"], 16).added, 0, "a name the model lacks");
});
