// One request at a time. Each kind of request has a slot, in which only the newest one waits.
import { Busy, Unreachable } from "./api.js";

/** The request was made unnecessary by a newer one. */
export class Replaced extends Error {}

const FIRST = ["layout", "compose", "candidates", "neighbours"]; // the order of service
const PAUSES = [500, 1000, 2000, 4000, 8000]; // ms between tries to reach the server

/**
 * @param onState gets "ready", "busy" (the server asks to wait) or "gone" (it does not answer).
 * @param timers {set, clear} stand in for setTimeout and clearTimeout in tests.
 */
export function createLane({
  onState = () => {},
  timers = { set: (call, ms) => setTimeout(call, ms), clear: (timer) => clearTimeout(timer) },
} = {}) {
  const waiting = new Map();
  let running = null;
  let resting = null; // a timer
  let failures = 0;

  function next() {
    if (running || resting !== null || !waiting.size) return;
    const slot = FIRST.find((one) => waiting.has(one)) ?? waiting.keys().next().value;
    const entry = waiting.get(slot);
    waiting.delete(slot);
    running = { ...entry, controller: new AbortController() };
    serve(running);
  }

  function rest(ms) {
    resting = timers.set(() => {
      resting = null;
      next();
    }, ms);
  }

  async function serve(entry) {
    const { signal } = entry.controller;
    try {
      const value = await entry.job(signal);
      failures = 0;
      onState("ready");
      if (signal.aborted) entry.reject(new Replaced());
      else entry.resolve(value);
    } catch (error) {
      if (signal.aborted) entry.reject(new Replaced());
      else if (error instanceof Busy || error instanceof Unreachable) {
        if (waiting.has(entry.slot)) entry.reject(new Replaced());
        else waiting.set(entry.slot, entry);
        if (error instanceof Busy) rest(error.wait);
        else rest(PAUSES[Math.min(failures++, PAUSES.length - 1)]);
        onState(error instanceof Busy ? "busy" : "gone");
      } else {
        failures = 0;
        onState("ready");
        entry.reject(error);
      }
    }
    running = null;
    next();
  }

  return {
    /**
     * Runs `job(signal)` when its turn comes.
     *
     * @param urgent stop the running one of the same slot: nobody waits for it any more.
     * @returns a promise of its value; rejected with `Replaced` when a newer one took its slot.
     */
    put(slot, job, { urgent = false } = {}) {
      return new Promise((resolve, reject) => {
        waiting.get(slot)?.reject(new Replaced());
        waiting.set(slot, { slot, job, resolve, reject });
        if (urgent && running?.slot === slot) running.controller.abort();
        next();
      });
    },
    /** Forgets what waits or runs in a slot. */
    drop(slot) {
      waiting.get(slot)?.reject(new Replaced());
      waiting.delete(slot);
      if (running?.slot === slot) running.controller.abort();
    },
    /** Tries at once instead of resting. */
    retry() {
      if (resting === null) return;
      timers.clear(resting);
      resting = null;
      next();
    },
  };
}
