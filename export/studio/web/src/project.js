// The studio's project file, and scenes from what the server read in a document.
import { emptyScene, locks, ownPictures, toGraph } from "./scene.js";

export const KIND = "rgan_studio";

/** The project file. @param model as /api/model describes it */
export function toProject(scene, pool, model) {
  const graph = toGraph(scene);
  const kept = {};
  scene.objects.forEach((one, position) => {
    if (one.patch !== null && !one.locked && one.own === null) kept[position] = one.patch;
  });
  graph.patches = scene.objects.map((one) => (one.locked && one.own === null ? one.patch : null));
  return {
    kind: KIND,
    version: 1,
    model: { version: model.version, weights: model.weights, bank: model.bank },
    graph,
    studio: {
      locks: locks(scene),
      kept,
      draw: scene.draw,
      licences: scene.licences,
      own: ownPictures(scene, pool),
    },
  };
}

/**
 * A scene from the reply of /api/open.
 *
 * @returns {scene, pool}: the own pictures are in the pool by `checksum`.
 */
export async function fromOpened(opened, checksum) {
  const scene = emptyScene();
  const { graph } = opened;
  const pool = {};
  const own = {};
  for (const [position, png] of Object.entries(opened.own ?? {})) {
    own[position] = await checksum(png);
    pool[own[position]] = png;
  }
  scene.objects = graph.objects.map((category, position) => {
    const mine = own[position] ?? null;
    const kept = opened.kept?.[position] ?? null;
    const given = graph.patches?.[position] ?? null;
    const patch = mine === null ? (given ?? kept) : null;
    const locked = patch !== null && (opened.locks ?? []).includes(position);
    return {
      key: position + 1,
      category,
      box: graph.boxes?.[position] ?? null,
      patch,
      locked,
      own: mine,
      shown: patch === null ? [] : [patch],
    };
  });
  const count = graph.objects.length;
  scene.relations = (graph.relationships ?? []).map(([subject, predicate, object], row) => ({
    key: count + row + 1,
    subject: subject + 1,
    predicate,
    object: object + 1,
  }));
  scene.nextKey = count + scene.relations.length + 1;
  const { mode, seed, temperature } = opened.draw ?? {};
  scene.draw = {
    mode: mode ?? scene.draw.mode,
    seed: seed ?? scene.draw.seed,
    temperature: temperature ?? scene.draw.temperature,
  };
  scene.licences = opened.licences ?? null;
  return { scene, pool };
}
