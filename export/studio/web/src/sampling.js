// Drawing another patch for one object: among its candidates, seeded, without repeats.

/** Numbers in [0, 1) from a whole number (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value = (value + Math.imul(value ^ (value >>> 7), value | 61)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One whole number from several, for `randomNumbers`. */
export function mixed(...numbers) {
  let value = 0x811c9dc5;
  for (const number of numbers) {
    value = Math.imul(value ^ (number >>> 0), 0x01000193) >>> 0;
    value = Math.imul(value ^ (value >>> 13), 0x5bd1e995) >>> 0;
  }
  return value >>> 0;
}

/** The distance by which the selection step chooses: to the others' patches, if they have any. */
export const deciding = ({ distance, group_distance }) => group_distance ?? distance;

/**
 * Draws a candidate that was not shown, with probability exp(-scale * distance / temperature).
 *
 * When all were shown it starts over with the one that was shown longest ago.
 *
 * @param candidates [{id, distance, group_distance | null}]
 * @param shown ids, the latest last; the present one is its last.
 * @param options {seed, scale, temperature}
 * @returns {id, shown, over}: `shown` is for the next call, `over` says that all were shown before;
 *   null if there is nothing else to choose.
 */
export function drawAnother(candidates, shown, { seed, scale, temperature }) {
  const present = shown.at(-1);
  const fresh = candidates.filter(({ id }) => !shown.includes(id));
  if (fresh.length) {
    const logits = fresh.map((one) => (-scale * deciding(one)) / Math.max(temperature, 1e-6));
    const most = Math.max(...logits);
    const weights = logits.map((logit) => Math.exp(logit - most));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let rest = randomNumbers(mixed(seed, shown.length))() * total;
    let choice = weights.findIndex((weight) => (rest -= weight) < 0);
    if (choice < 0) choice = weights.indexOf(Math.max(...weights)); // rounding
    const { id } = fresh[choice];
    return { id, shown: [...shown, id], over: false };
  }
  const known = new Set(candidates.map(({ id }) => id));
  const oldest = shown.find((id) => known.has(id) && id !== present);
  if (oldest === undefined) return null;
  return { id: oldest, shown: [...shown.filter((id) => id !== oldest), oldest], over: true };
}
