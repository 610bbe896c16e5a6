// Boxes are [x0, y0, x1, y1], fractions of the picture; y points down.

export const SMALLEST = 0.02; // side of a box
export const CORNERS = ["nw", "ne", "se", "sw"];
export const EDGES = ["n", "e", "s", "w"];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Four digits: finer than any pixel, and short in links and files. */
export const rounded = (box) => box.map((edge) => Math.round(edge * 1e4) / 1e4);

export const width = (box) => box[2] - box[0];
export const height = (box) => box[3] - box[1];
export const area = (box) => width(box) * height(box);
export const centre = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

/** The box moved by (dx, dy), kept whole inside the picture. */
export function moved(box, dx, dy) {
  const x0 = clamp(box[0] + dx, 0, 1 - width(box));
  const y0 = clamp(box[1] + dy, 0, 1 - height(box));
  return rounded([x0, y0, x0 + width(box), y0 + height(box)]);
}

/** The box with the sides that `handle` ("n", "se" ...) names moved by (dx, dy). */
export function resized(box, handle, dx, dy) {
  let [x0, y0, x1, y1] = box;
  if (handle.includes("w")) x0 = clamp(x0 + dx, 0, x1 - SMALLEST);
  if (handle.includes("e")) x1 = clamp(x1 + dx, x0 + SMALLEST, 1);
  if (handle.includes("n")) y0 = clamp(y0 + dy, 0, y1 - SMALLEST);
  if (handle.includes("s")) y1 = clamp(y1 + dy, y0 + SMALLEST, 1);
  return rounded([x0, y0, x1, y1]);
}

/** The box with one of x, y, width, height (fractions) set; what does not fit is fitted. */
export function withNumber(box, name, value) {
  const [x0, y0, x1, y1] = box;
  const axis = name === "x" || name === "width" ? 0 : 1;
  const low = axis ? y0 : x0;
  const size = (axis ? y1 : x1) - low;
  let start = low;
  let length = size;
  if (name === "x" || name === "y") {
    start = clamp(value, 0, 1 - SMALLEST);
    length = Math.min(size, 1 - start);
  } else {
    length = clamp(value, SMALLEST, 1);
    start = Math.min(low, 1 - length);
  }
  const end = start + length;
  return rounded(axis ? [x0, start, x1, end] : [start, y0, end, y1]);
}

export const holds = (box, [x, y]) => box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3];

const CLEARLY = 0.6; // of an area

/**
 * Positions of the boxes under a point, the smallest first; null boxes are nowhere.
 *
 * @param chosen position that comes first unless a clearly smaller box lies there, or null.
 */
export function under(boxes, point, chosen = null) {
  const found = boxes
    .map((box, position) => ({ box, position }))
    .filter(({ box }) => box && holds(box, point))
    .sort((one, other) => area(one.box) - area(other.box) || other.position - one.position)
    .map(({ position }) => position);
  const [first] = found;
  if (!found.includes(chosen) || area(boxes[first]) < CLEARLY * area(boxes[chosen])) return found;
  return [chosen, ...found.filter((position) => position !== chosen)];
}

const percent = (value) => Math.round(value * 100);

/** The place of a box in words, for screen readers. */
export function placeInWords(box) {
  return (
    `${percent(box[0])} % from left, ${percent(box[1])} % from top, ` +
    `${percent(width(box))} % wide, ${percent(height(box))} % high`
  );
}

/** Where the line between two centres leaves a box: start and end of an arrow. */
export function towards(box, point) {
  const [x, y] = centre(box);
  const [dx, dy] = [point[0] - x, point[1] - y];
  const share = Math.min(
    dx ? width(box) / 2 / Math.abs(dx) : Infinity,
    dy ? height(box) / 2 / Math.abs(dy) : Infinity,
    1,
  );
  return [x + dx * share, y + dy * share];
}
