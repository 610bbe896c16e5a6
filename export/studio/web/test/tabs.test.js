import assert from "node:assert/strict";
import test from "node:test";
import { createAutosave } from "../src/autosave.js";
import { newHistory } from "../src/history.js";
import { emptyScene, withObject } from "../src/scene.js";
import { createStore } from "../src/state.js";
import { load, placeOf, save } from "../src/storage.js";
import { createTurn } from "../src/tabs.js";

globalThis.document = { addEventListener() {} };
globalThis.addEventListener = () => {};

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** What navigator.locks does, for tabs of one browser. */
function browserLocks() {
  const held = new Map();
  const queues = new Map();
  async function grant(place, entry) {
    held.set(place, entry);
    try {
      entry.resolve(await entry.call({}));
    } finally {
      if (held.get(place) === entry) held.delete(place);
      const next = queues.get(place)?.shift();
      if (next && !held.has(place)) grant(place, next);
    }
  }
  return {
    request(place, options, call = options) {
      return new Promise((resolve, reject) => {
        const entry = { call, resolve, reject };
        if (options.steal) {
          held.get(place)?.reject(Object.assign(new Error("stolen"), { name: "AbortError" }));
          held.delete(place);
        }
        if (!held.has(place)) grant(place, entry);
        else if (options.ifAvailable) resolve(call(null));
        else queues.set(place, [...(queues.get(place) ?? []), entry]);
      });
    },
  };
}

test("of two tabs one saves; the other when it takes the turn, or when the first ends", async () => {
  const locks = browserLocks();
  const said = { one: [], other: [] };
  const one = createTurn("place", (state) => said.one.push(state), locks);
  await pause();
  const other = createTurn("place", (state) => said.other.push(state), locks);
  await pause();
  assert.deepEqual(said, { one: ["mine"], other: ["other"] });
  other.take();
  await pause();
  assert.deepEqual(said, { one: ["mine", "other"], other: ["other", "mine"] });
  other.end();
  await pause();
  assert.deepEqual(said, { one: ["mine", "other", "mine"], other: ["other", "mine"] });
  one.end();
});

test("a place that was left is not taken when its turn comes", async () => {
  const locks = browserLocks();
  const said = [];
  const one = createTurn("place", () => {}, locks);
  await pause();
  createTurn("place", (state) => said.push(state), locks).end();
  await pause();
  const third = [];
  createTurn("place", (state) => third.push(state), locks);
  await pause();
  one.end();
  await pause();
  assert.deepEqual(said, ["other"]);
  assert.deepEqual(third, ["other", "mine"]); // it was given back
});

test("where the browser denies locks every tab saves, and it is not asked without end", async () => {
  let asked = 0;
  const denied = Object.assign(new Error("denied"), { name: "SecurityError" });
  const locks = {
    request() {
      asked += 1;
      if (asked > 100) throw new Error("asked without end");
      return Promise.reject(denied);
    },
  };
  const said = [];
  createTurn("place", (state) => said.push(state), locks);
  await pause();
  assert.deepEqual([asked, said], [1, ["mine"]]);
});

function room() {
  const values = new Map();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
  };
}

const sceneWith = (...names) => names.reduce(withObject, emptyScene());
const namesAt = (storage, place) =>
  load(storage, place)?.history.present.objects.map((one) => one.category) ?? null;

function work(storage) {
  const store = createStore();
  const turn = createAutosave({ store, storage, locks: null });
  return { store, turn, set: (fields) => store.dispatch({ type: "set", fields }) };
}

const MODELS = ["a", "b"].map((bank) => ({ name: "m", version: 1, bank }));
const [FIRST, SECOND] = MODELS.map(placeOf);

test("a model that changes under the page does not cost what was saved for the next one", () => {
  const storage = room();
  save(storage, SECOND, { history: newHistory(sceneWith("boat")), pool: {} }, "1");
  const { store, turn, set } = work(storage);
  set({ model: MODELS[0] });
  store.dispatch({ type: "commit", scene: sceneWith("sky"), label: "add sky" });
  set({ model: MODELS[1] });
  assert.deepEqual(namesAt(storage, FIRST), ["sky"]);
  assert.deepEqual(namesAt(storage, SECOND), ["boat"]); // not overwritten
  assert.equal(store.get().save.state, "conflict");
  turn.settle("load");
  assert.equal(store.get().history.present.objects[0].category, "boat");
  assert.equal(store.get().save.state, "saved");
});

test("where nothing was saved for the next model the scene goes on there", () => {
  const storage = room();
  const { store, set } = work(storage);
  set({ model: MODELS[0] });
  store.dispatch({ type: "commit", scene: sceneWith("sky"), label: "add sky" });
  set({ model: MODELS[1] });
  assert.deepEqual([namesAt(storage, FIRST), namesAt(storage, SECOND)], [["sky"], ["sky"]]);
  assert.equal(store.get().save.state, "saved");
});

test("without any storage the page works, and says that it keeps nothing", () => {
  const denied = () => {
    throw Object.assign(new Error("Access is denied"), { name: "SecurityError" });
  };
  const { store, turn, set } = work({ getItem: denied, setItem: denied });
  set({ model: MODELS[0] });
  turn.settle("keep");
  assert.match(store.get().save.text, /does not keep this scene: Access is denied. Save it as a file/);
});
