import assert from "node:assert/strict";
import test from "node:test";
import { fromOpened, toProject } from "../src/project.js";
import { candidatesBody, composeBody, nextSeed, samplesBody } from "../src/requests.js";
import {
  changed,
  drawnWith,
  emptyScene,
  nameOf,
  relationships,
  toGraph,
  withObject,
  withOwn,
  withPatch,
  withRelation,
  withRelationships,
  withoutObject,
} from "../src/scene.js";
import { createStore } from "../src/state.js";

const scene3 = () =>
  ["sky", "tree", "tree"].reduce((scene, name) => withObject(scene, name), emptyScene());

function studio() {
  const store = createStore();
  let time = 0;
  return {
    store,
    scene: () => store.get().history.present,
    edit(change, same = null, pause = 5000) {
      time += pause;
      const scene = change(store.get().history.present);
      store.dispatch({ type: "commit", scene, label: "edit", same, at: time });
    },
  };
}

test("a removed object takes its relations with it; positions follow", () => {
  let scene = withRelation(withRelation(scene3(), 1, "above", 2), 2, "left of", 3);
  assert.deepEqual(relationships(scene), [
    [0, "above", 1],
    [1, "left of", 2],
  ]);
  scene = withoutObject(scene, 1);
  assert.deepEqual(relationships(scene), [[0, "left of", 1]]);
  assert.equal(nameOf(scene3(), 3), "tree 2");
  assert.equal(nameOf(scene3(), 1), "sky");
});

test("drawing again frees what is kept, not what is locked, not own pictures", () => {
  let scene = withPatch(withPatch(scene3(), 1, 11), 2, 12);
  scene = withOwn(changed(scene, 2, { locked: true }), 3, "sum");
  const drawn = drawnWith(scene, { seed: 9 });
  assert.deepEqual(
    drawn.objects.map(({ patch, own }) => [patch, own]),
    [
      [null, null],
      [12, null],
      [null, "sum"],
    ],
  );
  assert.equal(drawn.draw.seed, 9);
});

test("undo and redo by intent, 100 entries and more", () => {
  const { store, edit, scene } = studio();
  for (let count = 0; count < 120; count += 1) {
    edit((present) => (count ? changed(present, 1, { patch: count }) : withObject(present, "sky")));
  }
  for (let count = 0; count < 120; count += 1) store.dispatch({ type: "undo" });
  assert.equal(scene().objects.length, 0);
  for (let count = 0; count < 120; count += 1) store.dispatch({ type: "redo" });
  assert.equal(scene().objects[0].patch, 119);
});

test("steps of one intent are one entry, while they follow each other", () => {
  const { store, edit, scene } = studio();
  edit((present) => withObject(present, "sky"));
  edit((present) => changed(present, 1, { patch: 1 }), "same");
  edit((present) => changed(present, 1, { patch: 2 }), "same", 400);
  edit((present) => changed(present, 1, { patch: 3 }), "same", 4000);
  store.dispatch({ type: "undo" });
  assert.equal(scene().objects[0].patch, 2);
  store.dispatch({ type: "undo" });
  assert.equal(scene().objects[0].patch, null);
});

test("a new change after undo forgets what was undone", () => {
  const { store, edit } = studio();
  edit((present) => withObject(present, "sky"));
  store.dispatch({ type: "undo" });
  edit((present) => withObject(present, "tree"));
  store.dispatch({ type: "redo" });
  assert.deepEqual(toGraph(store.get().history.present).objects, ["tree"]);
});

test("what the reply chose is filled in without an entry, and only where it was free", () => {
  const { store, edit, scene } = studio();
  edit(() => withPatch(scene3(), 2, 5));
  store.dispatch({ type: "settle", ids: new Map([[1, 7], [2, 8], [3, null]]) });
  assert.deepEqual(
    scene().objects.map(({ patch }) => patch),
    [7, 5, null],
  );
  assert.equal(store.get().history.past.length, 1);
});

test("a drag becomes an entry only when it ends", () => {
  const { store, edit } = studio();
  edit((present) => withObject(present, "sky"));
  store.dispatch({ type: "draft", scene: changed(store.get().history.present, 1, { patch: 4 }) });
  assert.equal(store.get().history.past.length, 1);
  store.dispatch({ type: "draft", scene: null });
  assert.equal(store.get().history.present.objects[0].patch, null);
});

test("requests: own pictures by position, never beside an id; equal scenes are equal texts", () => {
  const scene = withOwn(withPatch(scene3(), 1, 11), 2, "sum");
  const body = composeBody(scene, { sum: "UE5H" });
  assert.deepEqual(body.graph.patches, [11, null, null]);
  assert.deepEqual(body.own, { 1: "UE5H" });
  assert.equal(JSON.stringify(body), JSON.stringify(composeBody({ ...scene }, { sum: "UE5H" })));
  assert.deepEqual(candidatesBody(scene, { sum: "UE5H" }, 2).own, {});
  assert.equal(candidatesBody(scene, {}, 1).graph.patches[0], null);
});

test("eight samples have eight seeds, none the present one, none beyond the limit", () => {
  const { draws } = samplesBody(scene3(), {}, 8, 5);
  assert.deepEqual(
    draws.map(({ seed }) => seed),
    [2, 3, 4, 5, 0, 1, 2, 3],
  );
  assert.equal(nextSeed(2147483647, 2147483647), 0);
});

test("relations by position keep the rows that stay", () => {
  const scene = withRelation(scene3(), 1, "above", 2);
  const after = withRelationships(scene, [
    [0, "below", 1],
    [2, "left of", 1],
  ]);
  assert.deepEqual(relationships(after), [
    [0, "below", 1],
    [2, "left of", 1],
  ]);
  assert.equal(after.relations[0].key, scene.relations[0].key);
});

test("a project file comes back as the same scene", async () => {
  let scene = withRelation(withPatch(withPatch(scene3(), 1, 11), 2, 12), 1, "above", 2);
  scene = withOwn(changed(scene, 2, { locked: true, box: [0, 0, 0.5, 0.5] }), 3, "sum");
  const model = { version: 1, weights: "w", bank: "b" };
  const file = toProject(scene, { sum: "UE5H" }, model);
  assert.deepEqual(file.graph.patches, [null, 12, null]);
  assert.deepEqual(file.studio.kept, { 0: 11 });
  const opened = { ...file.studio, graph: file.graph, messages: [] };
  const { scene: back, pool } = await fromOpened(opened, async () => "sum");
  assert.deepEqual(toGraph(back), toGraph(scene));
  assert.deepEqual(
    back.objects.map(({ locked, own }) => [locked, own]),
    [
      [false, null],
      [true, null],
      [false, "sum"],
    ],
  );
  assert.deepEqual(pool, { sum: "UE5H" });
  assert.deepEqual(toProject(back, pool, model), file);
});
