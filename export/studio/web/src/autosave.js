// Saves the work 0.5 s after a change and when the page is left, from one tab at a time.
import { load, placeOf, save } from "./storage.js";
import { createTurn } from "./tabs.js";

const PAUSE = 500; // ms

export function createAutosave({ store, storage, locks = navigator.locks }) {
  let place = null;
  let turn = null;
  let mine = false;
  let timer = null;
  let stamp = null; // of what this tab last read or wrote
  let saved = null; // the history that is saved
  const set = (fields) => store.dispatch({ type: "set", fields });

  function write() {
    clearTimeout(timer);
    timer = null;
    const { history, pool } = store.get();
    if (!mine || history === saved || place === null) return;
    stamp = `${Date.now()}-${Math.random()}`;
    const text = save(storage, place, { history, pool }, stamp);
    saved = history;
    set({ save: { state: text ? "failed" : "saved", text } });
  }

  function read() {
    const found = load(storage, place);
    if (!found) return null;
    stamp = found.stamp;
    return found;
  }

  function restore(found) {
    store.dispatch({ type: "restore", history: found.history, pool: found.pool ?? {} });
    saved = store.get().history;
  }

  function stored() {
    try {
      return JSON.parse(storage.getItem(place))?.stamp ?? null;
    } catch {
      return null;
    }
  }

  function turnIs(whose) {
    mine = whose === "mine";
    if (!mine) return set({ save: { state: "other-tab" } });
    if (stored() === stamp) {
      set({ save: { state: "saved" } });
      return write();
    }
    // Another tab wrote since this one read.
    if (store.get().history === saved) return settle("load");
    mine = false;
    return set({ save: { state: "conflict" } });
  }

  function settle(choice) {
    mine = true;
    set({ save: { state: "saved" } });
    const found = choice === "load" ? read() : null;
    if (found) restore(found);
    else {
      saved = null;
      write();
    }
  }

  function take() {
    stamp = stored(); // this tab's scene is to win
    saved = null;
    turn.take();
  }

  function modelIs(model) {
    const next = placeOf(model);
    if (next === place) return;
    const first = place === null;
    write();
    turn?.end();
    place = next;
    mine = false;
    saved = first ? store.get().history : null;
    stamp = first ? stored() : null; // what is saved there for the next model is not overwritten
    const found = first ? read() : null;
    if (found) restore(found);
    turn = createTurn(place, turnIs, locks);
  }

  store.listen((state, before) => {
    if (state.model !== before.model && state.model) modelIs(state.model);
    if (state.history !== before.history && timer === null) timer = setTimeout(write, PAUSE);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") write();
  });
  addEventListener("pagehide", write);
  return { take, settle };
}
