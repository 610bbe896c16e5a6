import assert from "node:assert/strict";
import test from "node:test";
import { drawAnother, randomNumbers } from "../src/sampling.js";

const rows = (count) =>
  Array.from({ length: count }, (_, id) => ({ id, distance: id / count, group_distance: null }));
const OPTIONS = { seed: 5, scale: 24.6, temperature: 1 };

function draws(candidates, first, times, options = OPTIONS) {
  let shown = [first];
  const ids = [];
  const overs = [];
  for (let time = 0; time < times; time += 1) {
    const next = drawAnother(candidates, shown, options);
    shown = next.shown;
    ids.push(next.id);
    overs.push(next.over);
  }
  return { ids, overs };
}

test("20 draws among 20 patches give 20 different ones; the last is the first one again", () => {
  const { ids, overs } = draws(rows(20), 7, 20);
  assert.equal(new Set(ids).size, 20);
  assert.equal(ids.at(-1), 7);
  assert.deepEqual(overs, [...Array(19).fill(false), true]);
});

test("after that it goes on with the one shown longest ago", () => {
  const { ids } = draws(rows(5), 0, 9);
  assert.deepEqual(ids.slice(5), ids.slice(0, 4));
});

test("the same seed draws the same, another one another order", () => {
  const one = draws(rows(20), 7, 10).ids;
  assert.deepEqual(draws(rows(20), 7, 10).ids, one);
  assert.notDeepEqual(draws(rows(20), 7, 10, { ...OPTIONS, seed: 6 }).ids, one);
});

test("the weights are exp(-scale * distance / temperature)", () => {
  const two = [
    { id: 1, distance: 9, group_distance: 0 },
    { id: 2, distance: 0, group_distance: 0.5 },
  ];
  const share = (temperature) => {
    let first = 0;
    for (let seed = 0; seed < 4000; seed += 1) {
      first += drawAnother(two, [0], { seed, scale: 2, temperature }).id === 1;
    }
    return first / 4000;
  };
  assert.ok(Math.abs(share(1) - 1 / (1 + Math.exp(-1))) < 0.03, "by the group's distance");
  assert.ok(Math.abs(share(1000) - 0.5) < 0.03);
  assert.equal(share(0.001), 1);
});

test("nothing else to choose", () => {
  assert.equal(drawAnother(rows(1), [0], OPTIONS), null);
  assert.equal(drawAnother([], [], OPTIONS), null);
});

test("the generator is uniform enough", () => {
  const next = randomNumbers(1);
  let sum = 0;
  for (let draw = 0; draw < 10000; draw += 1) sum += next();
  assert.ok(Math.abs(sum / 10000 - 0.5) < 0.02);
});
