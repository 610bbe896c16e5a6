/** Names that match first, then those that hold the text somewhere. */
export function found(objects, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return objects;
  const starts = objects.filter(({ name }) => name.toLowerCase().startsWith(wanted));
  const holds = objects.filter(
    (one) => !starts.includes(one) && one.name.toLowerCase().includes(wanted),
  );
  return [...starts, ...holds];
}
