// What is sent to the server for a scene. Equal scenes give equal texts, so a text is also a key.
import { locks, ownPictures, positionOf, relationships, toGraph } from "./scene.js";

const draw = (scene) => ({ ...scene.draw, repeats: false });

/** Boxes as the model predicts them depend on names and relations alone. */
export const layoutBody = (scene) => ({
  graph: {
    objects: scene.objects.map((one) => one.category),
    relationships: relationships(scene),
  },
});

export const composeBody = (scene, pool) => ({
  graph: toGraph(scene),
  own: ownPictures(scene, pool),
  draws: [draw(scene)],
  licences: scene.licences,
  image: true,
});

/** `count` samples with the seeds after the present one; `scene` has its free patches free. */
export const samplesBody = (scene, pool, count, mostSeed) => ({
  ...composeBody(scene, pool),
  draws: Array.from({ length: count }, (_, step) => ({
    ...draw(scene),
    mode: "sample",
    seed: nextSeed(scene.draw.seed, mostSeed, step + 1),
  })),
});

export const nextSeed = (seed, mostSeed, steps = 1) => (seed + steps) % (mostSeed + 1);

/** Candidates do not depend on boxes, nor on the object's own present patch. */
export function candidatesBody(scene, pool, key) {
  const position = positionOf(scene, key);
  const graph = toGraph(scene);
  graph.patches[position] = null;
  graph.boxes = graph.boxes.map(() => null);
  const own = ownPictures(scene, pool);
  delete own[position];
  return { graph, own, position, licences: scene.licences };
}

export const exportBody = (scene, pool) => ({
  graph: toGraph(scene),
  own: ownPictures(scene, pool),
  draw: draw(scene),
  licences: scene.licences,
  locks: locks(scene),
});
