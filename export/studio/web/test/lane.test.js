import assert from "node:assert/strict";
import test from "node:test";
import { Busy, createApi, Refused, Unreachable } from "../src/api.js";
import { createLane, Replaced } from "../src/lane.js";

const tick = () => new Promise((resolve) => setImmediate(resolve));

function setup() {
  const states = [];
  const rests = [];
  const timers = {
    set: (call, ms) => rests.push({ call, ms }) - 1,
    clear: (timer) => {
      rests[timer].cleared = true;
    },
  };
  const lane = createLane({ onState: (state) => states.push(state), timers });
  const jobs = [];
  let running = 0;
  let most = 0;
  const job = (name) => (signal) =>
    new Promise((resolve, reject) => {
      running += 1;
      most = Math.max(most, running);
      const end = (call) => (value) => {
        running -= 1;
        call(value);
      };
      jobs.push({ name, signal, resolve: end(resolve), reject: end(reject) });
      signal.addEventListener("abort", () => end(reject)(new Error("aborted")));
    });
  return { lane, job, jobs, states, rests, most: () => most };
}

test("one in flight, the newest of a slot pending, the rest dropped", async () => {
  const { lane, job, jobs, most } = setup();
  const one = lane.put("compose", job("1"));
  const two = lane.put("compose", job("2"));
  const three = lane.put("compose", job("3"));
  await assert.rejects(two, Replaced);
  jobs[0].resolve("a");
  assert.equal(await one, "a");
  await tick();
  jobs[1].resolve("b");
  assert.equal(await three, "b");
  assert.deepEqual(
    jobs.map(({ name }) => name),
    ["1", "3"],
  );
  assert.equal(most(), 1);
});

test("boxes go before images, images before samples", async () => {
  const { lane, job, jobs } = setup();
  lane.put("other", job("first"));
  for (const slot of ["samples", "compose", "layout"]) lane.put(slot, job(slot));
  for (let at = 0; at < 4; at += 1) {
    jobs[at].resolve(null);
    await tick();
  }
  assert.deepEqual(
    jobs.map(({ name }) => name),
    ["first", "layout", "compose", "samples"],
  );
});

test("an urgent one stops its stale predecessor, and no other slot's", async () => {
  const { lane, job, jobs } = setup();
  const stale = lane.put("compose", job("stale"));
  lane.put("layout", job("layout"), { urgent: true });
  assert.equal(jobs[0].signal.aborted, false);
  lane.put("compose", job("new"), { urgent: true });
  assert.equal(jobs[0].signal.aborted, true);
  await assert.rejects(stale, Replaced);
});

test("a full server is asked again after the time it names, with the newest", async () => {
  const { lane, job, jobs, rests, states } = setup();
  const old = lane.put("compose", job("old"));
  jobs[0].reject(new Busy(1500));
  await tick();
  assert.equal(rests[0].ms, 1500);
  const newest = lane.put("compose", job("new"));
  await assert.rejects(old, Replaced);
  assert.equal(jobs.length, 1, "nothing is sent before");
  rests[0].call();
  await tick();
  jobs[1].resolve("image");
  assert.equal(await newest, "image");
  assert.deepEqual(states, ["busy", "ready"]);
});

test("a server that is gone is tried again, ever more slowly, or at once when asked", async () => {
  const { lane, job, jobs, rests, states } = setup();
  const answer = lane.put("compose", job("1"));
  for (let at = 0; at < 3; at += 1) {
    jobs[at].reject(new Unreachable("refused"));
    await tick();
    rests[at].call();
    await tick();
  }
  assert.deepEqual(
    rests.map(({ ms }) => ms),
    [500, 1000, 2000],
  );
  jobs[3].reject(new Unreachable("refused"));
  await tick();
  lane.retry();
  assert.ok(rests[3].cleared);
  await tick();
  jobs[4].resolve("back");
  assert.equal(await answer, "back");
  assert.deepEqual(states, ["gone", "gone", "gone", "gone", "ready"]);
});

test("a refusal is passed on and the next one runs", async () => {
  const { lane, job, jobs } = setup();
  const one = lane.put("compose", job("1"));
  const two = lane.put("layout", job("2"));
  jobs[0].reject(new Refused("no such name", "graph.objects[0]"));
  await assert.rejects(one, /no such name/);
  await tick();
  jobs[1].resolve(2);
  assert.equal(await two, 2);
});

const answering = (status, body, headers = {}) =>
  createApi({
    fetcher: async () =>
      new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers }),
  });

test("the server's words and field; 503; nobody there", async () => {
  const refused = answering(400, { error: "graph.boxes[2]: not a box\n ", field: "graph.boxes[2]" });
  await assert.rejects(refused.post("compose", {}), (error) => {
    assert.ok(error instanceof Refused);
    assert.equal(error.message, "graph.boxes[2]: not a box");
    assert.equal(error.field, "graph.boxes[2]");
    return true;
  });
  await assert.rejects(answering(502, "<html>").post("compose", {}), /502/);
  await assert.rejects(answering(503, {}, { "Retry-After": "2" }).post("compose", {}), (error) => {
    assert.ok(error instanceof Busy);
    assert.equal(error.wait, 2000);
    return true;
  });
  await assert.rejects(answering(503, {}, { "Retry-After": "9999" }).post("compose", {}), { wait: 30000 });
  const nobody = createApi({
    fetcher: async () => {
      throw new TypeError("fetch failed");
    },
  });
  await assert.rejects(nobody.model(), Unreachable);
});

test("the token goes along", async () => {
  let seen;
  const api = createApi({
    token: "t",
    fetcher: async (path, options) => {
      seen = options.headers;
      return new Response("{}");
    },
  });
  await api.post("layout", {});
  assert.equal(seen["X-Studio-Token"], "t");
  assert.equal(seen["Content-Type"], "application/json");
});
