// A scene: what the user made. Everything here returns a new scene.
//
// {objects: [{key, category, box | null, patch | null, locked, own | null, shown}],
//  relations: [{key, subject, predicate, object}] (subject and object are keys of objects),
//  draw: {mode, seed, temperature}, licences: [code] | null, nextKey}
//
// `box` null: the model predicts it. `patch`: a bank id that is sent along, so that a change
// elsewhere keeps it; `locked`: it also survives drawing again. `own`: checksum of the user's picture.
// `shown`: ids that drawing again gave, so that none comes twice.

export const MODES = ["sample", "deterministic", "nearest"];

export const emptyScene = () => ({
  objects: [],
  relations: [],
  draw: { mode: "sample", seed: 1, temperature: 1 },
  licences: null,
  nextKey: 1,
});

export const positionOf = (scene, key) => scene.objects.findIndex((one) => one.key === key);
export const objectOf = (scene, key) => scene.objects.find((one) => one.key === key);

/** "tree", or "tree 2" where several have the name. */
export function nameOf(scene, key) {
  const { category } = objectOf(scene, key);
  const same = scene.objects.filter((one) => one.category === category);
  const number = same.findIndex((one) => one.key === key) + 1;
  return same.length > 1 ? `${category} ${number}` : category;
}

const fresh = (key, category) => ({
  key,
  category,
  box: null,
  patch: null,
  locked: false,
  own: null,
  shown: [],
});

export const withObject = (scene, category) => ({
  ...scene,
  objects: [...scene.objects, fresh(scene.nextKey, category)],
  nextKey: scene.nextKey + 1,
});

export const withoutObject = (scene, key) => ({
  ...scene,
  objects: scene.objects.filter((one) => one.key !== key),
  relations: scene.relations.filter((one) => one.subject !== key && one.object !== key),
});

/** The scene with some fields of one object set. */
export const changed = (scene, key, fields) => ({
  ...scene,
  objects: scene.objects.map((one) => (one.key === key ? { ...one, ...fields } : one)),
});

export const withBox = (scene, key, box) => changed(scene, key, { box });

/** Another category: the old patch would not fit any more. */
export const withCategory = (scene, key, category) =>
  changed(scene, key, { category, patch: null, locked: false, shown: [] });

export const withPatch = (scene, key, patch, shown = undefined) =>
  changed(scene, key, { patch, own: null, ...(shown ? { shown } : {}) });

export const withOwn = (scene, key, own) =>
  changed(scene, key, { own, patch: null, locked: false, shown: [] });

/** Says whether the scene has the relation already. */
export const related = (scene, subject, predicate, object) =>
  scene.relations.some(
    (one) => one.subject === subject && one.predicate === predicate && one.object === object,
  );

export const withRelation = (scene, subject, predicate, object) => ({
  ...scene,
  relations: [...scene.relations, { key: scene.nextKey, subject, predicate, object }],
  nextKey: scene.nextKey + 1,
});

export const withChangedRelation = (scene, key, fields) => ({
  ...scene,
  relations: scene.relations.map((one) => (one.key === key ? { ...one, ...fields } : one)),
});

export const withoutRelation = (scene, key) => ({
  ...scene,
  relations: scene.relations.filter((one) => one.key !== key),
});

/** Relations by position, as in a graph, instead of the present ones; same rows keep their key. */
export function withRelationships(scene, rows) {
  let { nextKey } = scene;
  const relations = rows.map(([subject, predicate, object], row) => {
    const old = scene.relations[row];
    const ends = { subject: scene.objects[subject].key, object: scene.objects[object].key };
    const stays = old && old.subject === ends.subject && old.object === ends.object;
    return { key: stays ? old.key : nextKey++, ...ends, predicate };
  });
  return { ...scene, relations, nextKey };
}

/** All patches that are neither locked nor the user's own are free to be drawn anew. */
export const freed = (scene) => ({
  ...scene,
  objects: scene.objects.map((one) => (one.locked ? one : { ...one, patch: null, shown: [] })),
});

/** No ids of a bank at all, not even locked ones. */
export const withoutPatches = (scene) => ({
  ...scene,
  objects: scene.objects.map((one) => ({ ...one, patch: null, locked: false, shown: [] })),
});

/** The scene drawn again: with other numbers of the draw, and what is not locked free. */
export const drawnWith = (scene, fields) => ({
  ...freed(scene),
  draw: { ...scene.draw, ...fields },
});

/** The ids that a reply chose, filled in where the scene leaves the choice. @param ids by key */
export const filled = (scene, ids) => ({
  ...scene,
  objects: scene.objects.map((one) => {
    const id = ids.get(one.key) ?? null;
    if (one.patch !== null || one.own !== null || id === null) return one;
    return { ...one, patch: id, shown: one.shown.includes(id) ? one.shown : [...one.shown, id] };
  }),
});

/** Relationships by position. */
export const relationships = (scene) =>
  scene.relations.map((one) => [
    positionOf(scene, one.subject),
    one.predicate,
    positionOf(scene, one.object),
  ]);

/** Scene-graph JSON. */
export const toGraph = (scene) => ({
  objects: scene.objects.map((one) => one.category),
  relationships: relationships(scene),
  boxes: scene.objects.map((one) => one.box),
  patches: scene.objects.map((one) => (one.own === null ? one.patch : null)),
});

/** Own pictures by position. @param pool PNG (base64) by checksum */
export function ownPictures(scene, pool) {
  const found = {};
  scene.objects.forEach((one, position) => {
    if (one.own !== null) found[position] = pool[one.own];
  });
  return found;
}

/** Positions of the locked objects. */
export const locks = (scene) =>
  scene.objects.flatMap((one, position) => (one.locked ? [position] : []));
