import assert from "node:assert/strict";
import test from "node:test";
import { createApi, Refused } from "../src/api.js";
import { withCategory } from "../src/scene.js";
import { createSession } from "../src/session.js";
import { createStore } from "../src/state.js";

const MODEL = { name: "m", version: 1, id: "one", weights: "w", bank: "b", has_candidates: true };
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** A session over a server that answers with `models` in turn, and refuses what names another. */
function work(models = [MODEL]) {
  const served = { model: models[0] };
  const asked = [];
  const api = {
    token: null,
    model: async () => served.model,
    post: async (name, text) => {
      const body = JSON.parse(text);
      asked.push({ name, ...body });
      if (body.model !== undefined && body.model !== served.model.id) {
        throw new Refused("version 1 is of another model now", null, 404);
      }
      const { objects } = body.graph;
      if (name === "layout") return { version: 1, boxes: objects.map(() => [0, 0, 1, 1]) };
      if (name === "candidates") return { version: 1, candidates: [] };
      const each = objects.map(() => ({ patch: { id: 7, code: "BY" } }));
      return { version: 1, samples: [{ image: "", order: [], objects: each }] };
    },
  };
  const store = createStore();
  const session = createSession({ api, store });
  return { store, session, served, asked };
}

test("an example keeps how it is drawn, and from which licences", async () => {
  const { store, session } = work();
  await session.start();
  await session.setLicences(["BY"]);
  session.setDraw({ mode: "nearest" }, "mode");
  await session.example({ title: "t", graph: { objects: ["sky"], relationships: [] } });
  const { objects, licences, draw } = store.get().history.present;
  assert.deepEqual([objects.length, licences, draw.mode], [1, ["BY"], "nearest"]);
});

test("what has ids of patches names the model that they are of", async () => {
  const { session, asked } = work();
  await session.start();
  await session.example({ title: "t", graph: { objects: ["sky"], relationships: [] } });
  await session.shown();
  await session.candidatesOf(1);
  const named = asked.filter(({ name }) => name !== "layout").map(({ model }) => model);
  assert.deepEqual(named, ["one", "one"]);
});

test("another model under the same number is noticed, and ids of its bank are not taken over", async () => {
  const other = { ...MODEL, id: "two", bank: "c" };
  const { store, session, served } = work();
  await session.start();
  await session.example({ title: "t", graph: { objects: ["sky"], relationships: [] } });
  await session.shown();
  assert.equal(store.get().history.present.objects[0].patch, 7);
  served.model = other; // the server was started again, with another model
  await assert.rejects(session.candidatesOf(1), Refused);
  await pause();
  assert.equal(store.get().model, other);
  assert.match(store.get().notices.map(({ text }) => text).join(" "), /model has changed.*another bank/);
});

test("a sample of a scene that has changed since is not taken over; it gets its own", async () => {
  const { store, session } = work([{ ...MODEL, limits: { draws: 8, seed: 100 } }]);
  await session.start();
  await session.example({ title: "t", graph: { objects: ["sky"], relationships: [] } });
  await session.shown();
  const patch = () => store.get().history.present.objects[0].patch;
  const rows = () => store.get().samples.rows;
  await session.makeSamples();
  session.useSample({ ...rows()[0], seed: 5, objects: [{ patch: { id: 70 } }] });
  assert.equal(patch(), 70); // of the same scene, as before
  await session.shown();

  await session.makeSamples();
  const old = { ...rows()[0], seed: 6, objects: [{ patch: { id: 71 } }] };
  session.edit("sky becomes tree", (scene) => withCategory(scene, 1, "tree"));
  await session.shown();
  const shown = store.get().samples;
  await session.useSample(old);
  assert.equal(patch(), 7); // not the sky's
  assert.notEqual(store.get().samples.about, shown.about);
  assert.equal(store.get().samples.open, true);
  session.useSample({ ...old, objects: [{ patch: { id: 72 } }] });
  assert.equal(patch(), 72);
});

test("no two models have a picture under one address", () => {
  const api = createApi({ fetcher: () => assert.fail("nothing is fetched") });
  const [one, other] = [MODEL, { ...MODEL, id: "two" }].map((model) => api.patchUrl(model, 5));
  assert.notEqual(one, other);
  assert.equal(one, "/api/versions/1/patches/5.png?model=one");
});

test("neighbours are asked for of a model and its licences", async () => {
  const paths = [];
  const fetcher = async (path) => {
    paths.push(path);
    return new Response("{}");
  };
  const api = createApi({ fetcher });
  await api.neighbours(MODEL, 5, null);
  await api.neighbours(MODEL, 5, ["BY", "BY-SA"]);
  assert.deepEqual(paths, [
    "/api/versions/1/patches/5/neighbours?model=one",
    "/api/versions/1/patches/5/neighbours?model=one&licences=BY%2CBY-SA",
  ]);
});
