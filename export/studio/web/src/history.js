// Undo and redo: one entry per intent.

const MOST = 200; // entries
const PAUSE = 1000; // ms between steps of the same intent

export const newHistory = (present) => ({ past: [], present, future: [], last: null });

/**
 * A new present.
 *
 * @param intent {label, same, at}: steps with the same `same` within a second are one entry.
 */
export function committed(history, present, { label, same = null, at = 0 }) {
  const { last } = history;
  const goesOn = same !== null && last?.same === same && at - last.at < PAUSE;
  const past = goesOn
    ? history.past
    : [...history.past, { scene: history.present, label }].slice(-MOST);
  return { past, present, future: [], last: { same, at } };
}

/** The present filled in with what follows from it; no entry of its own. */
export const settled = (history, present) => ({ ...history, present });

export function undone(history) {
  if (!history.past.length) return history;
  const { scene, label } = history.past.at(-1);
  return {
    past: history.past.slice(0, -1),
    present: scene,
    future: [{ scene: history.present, label }, ...history.future],
    last: null,
  };
}

export function redone(history) {
  if (!history.future.length) return history;
  const [{ scene, label }, ...future] = history.future;
  return {
    past: [...history.past, { scene: history.present, label }],
    present: scene,
    future,
    last: null,
  };
}
