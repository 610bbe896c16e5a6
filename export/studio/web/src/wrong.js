// Relations that cannot be true: what boxes deny, and what the server finds in the graph alone.
import { disagrees } from "./relations.js";
import { nameOf, objectOf } from "./scene.js";
import { boxOf } from "./state.js";
import { layoutBody } from "./requests.js";

/** {key of the relation: why} */
export function wrongRelations(state, scene) {
  const found = {};
  if (state.cyclesOf === JSON.stringify(layoutBody(scene))) {
    for (const { relationship, text } of state.cycles) {
      const row = scene.relations[relationship];
      if (row) found[row.key] = text;
    }
  }
  for (const row of scene.relations) {
    const subject = objectOf(scene, row.subject);
    const object = objectOf(scene, row.object);
    if (!subject.box && !object.box) continue; // what the model predicts is its own affair
    const boxes = [boxOf(state, subject), boxOf(state, object)];
    if (boxes.includes(null) || !disagrees(row.predicate, ...boxes)) continue;
    found[row.key] =
      `${nameOf(scene, row.subject)} ${row.predicate} ${nameOf(scene, row.object)}: ` +
      "the boxes say otherwise";
  }
  return found;
}

/** Whether the given box of an object contradicts one of its relations. */
export const isWrong = (wrong, scene, object) =>
  object.box !== null &&
  scene.relations.some(
    (row) => wrong[row.key] && (row.subject === object.key || row.object === object.key),
  );
