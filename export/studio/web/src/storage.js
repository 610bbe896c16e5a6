// The work of a visit in the browser's storage: scene, history, own pictures.

const VERSION = 1;
const PREFIX = "rgan_studio:";

/** One place per bank: ids of one bank mean nothing in another. */
export const placeOf = (model) => `${PREFIX}${model.bank ?? `${model.name}:${model.version}`}`;

function usedOwn(history, pool) {
  const used = {};
  for (const scene of [history.present, ...history.past, ...history.future].map(
    (one) => one.scene ?? one,
  )) {
    for (const { own } of scene.objects) if (own !== null && pool[own]) used[own] = pool[own];
  }
  return used;
}

/**
 * Saves; without the history if that is too much.
 *
 * @param storage localStorage, or what stands in for it.
 * @returns null, or one line that says what was not saved.
 */
export function save(storage, place, { history, pool }, stamp) {
  const { past, present, future } = history;
  const whole = { version: VERSION, stamp, past, present, future };
  try {
    storage.setItem(place, JSON.stringify({ ...whole, pool: usedOwn(history, pool) }));
    return null;
  } catch (error) {
    const why = error?.name === "QuotaExceededError" ? "its storage is full" : error.message;
    const bare = { past: [], present, future: [] };
    try {
      const less = { version: VERSION, stamp, ...bare, pool: usedOwn(bare, pool) };
      storage.setItem(place, JSON.stringify(less));
      return `The browser keeps this scene without its undo steps: ${why}.`;
    } catch {
      return `The browser does not keep this scene: ${why}. Save it as a file.`;
    }
  }
}

const isScene = (value) =>
  Array.isArray(value?.objects) &&
  Array.isArray(value.relations) &&
  typeof value.draw === "object" &&
  Number.isInteger(value.nextKey);

/** What was saved: {history, pool, stamp}; null if nothing, or nothing readable. */
export function load(storage, place) {
  try {
    const value = JSON.parse(storage.getItem(place));
    const { past, present, future, pool, stamp } = value;
    const scenes = [present, ...past.map((one) => one.scene), ...future.map((one) => one.scene)];
    if (value.version !== VERSION || !scenes.every(isScene)) return null;
    return { history: { past, present, future, last: null }, pool, stamp };
  } catch {
    return null;
  }
}
