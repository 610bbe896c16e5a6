// The geometric relationships, in the words and by the rules of the project's Python:
// rgan_tf/annotations/relations.py names them, rgan_tf/contradictions.py finds disagreements.
import { area, centre } from "./geometry.js";

const contains = (outer, inner) =>
  outer[0] < inner[0] && outer[1] < inner[1] && outer[2] > inner[2] && outer[3] > inner[3];

/** The predicate from the box of the subject to that of the object; containment comes first. */
export function relationBetween(subject, object) {
  if (contains(subject, object)) return "surrounding";
  if (contains(object, subject)) return "inside";
  const [sx, sy] = centre(subject);
  const [ox, oy] = centre(object);
  const angle = Math.atan2(sy - oy, sx - ox);
  if (Math.abs(angle) >= (3 * Math.PI) / 4) return "left of";
  if (angle < -Math.PI / 4) return "above";
  return angle < Math.PI / 4 ? "right of" : "below";
}

const overlap = (one, other) =>
  Math.max(one[0], other[0]) < Math.min(one[2], other[2]) &&
  Math.max(one[1], other[1]) < Math.min(one[3], other[3]);

const ORDERS = [
  {
    before: ["left of", "to the left of", "on left of", "on the left of"],
    after: ["right of", "to the right of", "on right of", "on the right of"],
    disagree: (first, second) => centre(first)[0] > centre(second)[0],
  },
  {
    before: ["above", "over"],
    after: ["below", "under", "beneath", "underneath"],
    disagree: (first, second) => centre(first)[1] > centre(second)[1],
  },
  {
    before: ["inside", "in", "inside of", "within"],
    after: ["surrounding", "containing", "contains"],
    disagree: (first, second) => area(first) > area(second) || !overlap(first, second),
  },
];

export const GEOMETRIC = ["left of", "right of", "above", "below", "inside", "surrounding"];

/** Whether two boxes say the opposite of a predicate; false where boxes do not show it. */
export function disagrees(predicate, subject, object) {
  for (const order of ORDERS) {
    if (order.before.includes(predicate)) return order.disagree(subject, object);
    if (order.after.includes(predicate)) return order.disagree(object, subject);
  }
  return false;
}

const distance = (one, other) => {
  const [x, y] = centre(one);
  const [u, v] = centre(other);
  return Math.hypot(x - u, y - v);
};

/**
 * Relations as the boxes show them.
 *
 * A relation that its boxes deny is replaced; an object without any gets one: to the smallest
 * object that contains it, or else to the nearest.
 *
 * @param boxes per object, none null.
 * @param relationships [subject, predicate, object] by position.
 * @param predicates names that the model knows.
 * @param limit of relationships.
 * @returns {relationships, added, changed}
 */
export function derived(boxes, relationships, predicates, limit) {
  const known = (subject, object) => {
    const predicate = relationBetween(boxes[subject], boxes[object]);
    return predicates.includes(predicate) ? predicate : null;
  };
  let changed = 0;
  const result = relationships.map((row) => {
    const [subject, predicate, object] = row;
    if (!disagrees(predicate, boxes[subject], boxes[object])) return row;
    const better = known(subject, object);
    if (better === null) return row;
    changed += 1;
    return [subject, better, object];
  });
  const touched = new Set(result.flatMap(([subject, , object]) => [subject, object]));
  let added = 0;
  for (let here = 0; here < boxes.length && result.length < limit; here += 1) {
    if (touched.has(here)) continue;
    const others = boxes
      .map((box, position) => ({ box, position }))
      .filter(({ position }) => position !== here);
    const around = others
      .filter(({ box }) => contains(box, boxes[here]))
      .sort((one, other) => area(one.box) - area(other.box));
    const near = others.sort(
      (one, other) => distance(one.box, boxes[here]) - distance(other.box, boxes[here]),
    );
    const target = (around[0] ?? near[0])?.position;
    const predicate = target === undefined ? null : known(here, target);
    if (predicate === null) continue;
    result.push([here, predicate, target]);
    touched.add(here).add(target);
    added += 1;
  }
  return { relationships: result, added, changed };
}

