/** The last `most` values by key. */
export function createCache(most) {
  const values = new Map();
  return {
    get(key) {
      const value = values.get(key);
      if (value !== undefined) {
        values.delete(key);
        values.set(key, value);
      }
      return value;
    },
    set(key, value) {
      values.delete(key);
      values.set(key, value);
      if (values.size > most) values.delete(values.keys().next().value);
    },
    clear: () => values.clear(),
  };
}
