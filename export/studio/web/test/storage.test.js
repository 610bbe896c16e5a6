import assert from "node:assert/strict";
import test from "node:test";
import { newHistory } from "../src/history.js";
import { codeOf, hints, licenceCode, safeUrl, strictestFirst } from "../src/licences.js";
import { emptyScene, withObject, withOwn } from "../src/scene.js";
import { found } from "../src/search.js";
import { load, placeOf, save } from "../src/storage.js";

function room(characters = Infinity) {
  const values = new Map();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem(key, value) {
      if (value.length > characters) {
        const error = new Error("full");
        error.name = "QuotaExceededError";
        throw error;
      }
      values.set(key, value);
    },
  };
}

function work() {
  const empty = emptyScene();
  const scene = withOwn(withObject(empty, "sky"), 1, "sum");
  const past = Array.from({ length: 50 }, () => ({ scene: empty, label: "x" }));
  return {
    history: { ...newHistory(scene), past },
    pool: { sum: "P".repeat(100), unused: "Q".repeat(5000) },
  };
}

test("work comes back with its steps, and only the pictures that it uses", () => {
  const storage = room();
  const { history, pool } = work();
  assert.equal(save(storage, "place", { history, pool }, "1"), null);
  const back = load(storage, "place");
  assert.deepEqual(back.history.present, history.present);
  assert.equal(back.history.past.length, 50);
  assert.deepEqual(Object.keys(back.pool), ["sum"]);
});

test("a full storage is said: first the steps go, then the scene", () => {
  const { history, pool } = work();
  const less = room(2000);
  assert.match(save(less, "place", { history, pool }, "1"), /without its undo steps.*full/);
  assert.deepEqual(load(less, "place").history.past, []);
  assert.match(save(room(10), "place", { history, pool }, "1"), /does not keep.*Save it as a file/);
});

test("what is not readable counts as nothing", () => {
  const storage = room();
  for (const text of ["", "{", "[]", '{"version":9}', '{"version":1,"past":[],"future":[]}']) {
    storage.setItem("place", text);
    assert.equal(load(storage, "place"), null);
  }
});

test("one place for each bank", () => {
  assert.equal(placeOf({ bank: "b1" }), placeOf({ bank: "b1", version: 2 }));
  assert.notEqual(placeOf({ bank: "b1" }), placeOf({ bank: "b2" }));
  assert.notEqual(placeOf({ bank: null, name: "m", version: 1 }), placeOf({ bank: null, name: "m", version: 2 }));
});

test("licences by name", () => {
  assert.equal(licenceCode("Attribution-NonCommercial-ShareAlike License"), "BY-NC-SA");
  assert.equal(licenceCode("CC BY-SA 4.0"), "BY-SA");
  assert.equal(licenceCode("CC0 1.0 Universal"), "public-domain");
  assert.equal(licenceCode("No known copyright restrictions"), "public-domain");
  assert.equal(licenceCode("<img onerror=1>"), "other");
  assert.equal(licenceCode("constructor"), "other");
  assert.equal(licenceCode(""), "unknown");
  assert.equal(codeOf({ code: "BY-ND", licence: "" }), "BY-ND");
});

test("the strictest first, with what they ask", () => {
  assert.deepEqual(strictestFirst(["BY", "BY-NC-ND", "public-domain", "BY"]), [
    "BY-NC-ND",
    "BY",
    "public-domain",
  ]);
  assert.match(hints(["BY-ND"]).join(" "), /a composition is one/);
  assert.match(hints(["BY-NC-SA"]).join(" "), /commercial.*same licence/);
  assert.deepEqual(hints(["public-domain"]), []);
});

test("only http and https are links", () => {
  assert.equal(safeUrl("https://a.example/1"), "https://a.example/1");
  for (const text of ["javascript:alert(1)", " JaVaScRiPt:alert(1)", "procedural://11/0", "data:text/html,x", "x", null]) {
    assert.equal(safeUrl(text), null);
  }
});

test("a search lists beginnings first, and takes no text as a pattern", () => {
  const names = ["apple tree", "tree", "cat"].map((name) => ({ name }));
  assert.deepEqual(
    found(names, " TREE ").map(({ name }) => name),
    ["tree", "apple tree"],
  );
  assert.deepEqual(found(names, ".*"), []);
});
