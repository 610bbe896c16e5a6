// Between the state and the server: asks for what the scene needs, and carries out what needs both.
import { Refused } from "./api.js";
import { createCache } from "./cache.js";
import { checksum } from "./files.js";
import { createLane, Replaced } from "./lane.js";
import { fromOpened, toProject } from "./project.js";
import { derived } from "./relations.js";
import {
  candidatesBody,
  composeBody,
  exportBody,
  layoutBody,
  nextSeed,
  samplesBody,
} from "./requests.js";
import { drawAnother, mixed } from "./sampling.js";
import {
  changed,
  drawnWith,
  emptyScene,
  filled,
  freed,
  nameOf,
  objectOf,
  positionOf,
  related,
  relationships,
  withBox,
  withObject,
  withOwn,
  withPatch,
  withRelation,
  withRelationships,
  withoutObject,
  withoutPatches,
} from "./scene.js";
import { boxOf, sceneOf } from "./state.js";

const IMAGES = 50; // kept by request
const SAMPLES = 8;
const FALLBACK = [0.3, 0.3, 0.7, 0.7]; // a box where the model has not predicted any yet

const uploadTypes = ["image/png", "image/jpeg"];

export function createSession({ api, store, lane: givenLane = null, now = () => Date.now() }) {
  const composed = createCache(IMAGES);
  const layouts = createCache(IMAGES);
  const candidates = createCache(IMAGES);
  const similar = createCache(IMAGES);
  let layoutKey = null;
  let composeKey = null;
  let rerolls = Promise.resolve();
  let changing = false; // while the model is exchanged
  const quiet = new Set(); // calls that wait for the image

  const state = () => store.get();
  const present = () => state().history.present;
  const set = (fields) => store.dispatch({ type: "set", fields });
  const say = (text) => store.dispatch({ type: "say", text });
  const notice = (text) => store.dispatch({ type: "notice", text });
  const lane = givenLane ?? createLane({ onState: serverIs });

  /** One undoable change. @param change makes the new scene of the present one */
  function edit(label, change, same = null) {
    const scene = change(present());
    if (scene === present()) return;
    store.dispatch({ type: "commit", scene, label, same, at: now() });
  }

  function undo() {
    const entry = state().history.past.at(-1);
    if (!entry) return say("There is nothing to undo.");
    store.dispatch({ type: "undo" });
    return say(`Undone: ${entry.label}.`);
  }

  function redo() {
    const [entry] = state().history.future;
    if (!entry) return say("There is nothing to redo.");
    store.dispatch({ type: "redo" });
    return say(`Done again: ${entry.label}.`);
  }

  // ---- the server's state -------------------------------------------------------------------

  function serverIs(server) {
    const before = state().server;
    if (server === before) return;
    set({ server });
    if (server === "gone") say("The server does not answer. Your work stays here.");
    if (before === "gone" && server === "ready") {
      say("The server is back.");
      start();
    }
  }

  async function start() {
    let model;
    try {
      model = await lane.put("model", (signal) => api.model(signal));
    } catch (error) {
      if (error instanceof Replaced) return;
      set({ refusal: { text: error.message }, server: "ready" });
      return;
    }
    set({ refusal: null });
    await useModel(model);
  }

  const sameModel = (one, other) =>
    ["name", "version", "weights", "bank"].every((name) => one[name] === other[name]);

  async function useModel(model) {
    const before = state().model;
    if (before && sameModel(before, model)) return;
    for (const cache of [composed, layouts, candidates, similar]) cache.clear();
    layoutKey = composeKey = null;
    if (!before) {
      set({ model });
      return;
    }
    changing = true;
    set({ model, known: {}, samples: null, sample: null, predicted: {} });
    notice(`The model has changed: now ${model.name}, version ${model.version}.`);
    if (before.bank === null || before.bank !== model.bank) forgetPatches();
    changing = false;
    follow();
  }

  /** Ids of one bank mean nothing in another: also in the steps of the history. */
  function forgetPatches() {
    const count = present().objects.filter(({ patch }) => patch !== null).length;
    const { past, present: scene, future } = state().history;
    const forgotten = (step) => ({ ...step, scene: withoutPatches(step.scene) });
    store.dispatch({
      type: "restore",
      history: {
        past: past.map(forgotten),
        present: withoutPatches(scene),
        future: future.map(forgotten),
        last: null,
      },
      pool: state().pool,
      selected: state().selected,
    });
    if (count) notice(`${count} patches were chosen from another bank and are drawn anew.`);
  }

  /** Every reply names the version that made it. */
  function checkVersion({ version }) {
    const { model } = state();
    if (model && version !== undefined && version !== model.version) start();
  }

  /** Whether the version is not served any more; then its successor is asked for. */
  function checkGone(error) {
    const isGone = error instanceof Refused && error.status === 404;
    if (isGone) start();
    return isGone;
  }

  // ---- boxes and the image ------------------------------------------------------------------

  function follow() {
    const { model, server } = state();
    if (!model || server === "loading" || changing) return;
    const scene = sceneOf(state());
    if (!scene.objects.length) {
      if (layoutKey === null && composeKey === null && !state().sample) return;
      layoutKey = composeKey = null;
      lane.drop("layout");
      lane.drop("compose");
      set({ sample: null, waiting: false, error: null, cycles: [], samples: null });
      wake();
      return;
    }
    wantLayout(scene);
    wantImage(scene);
  }

  function wantLayout(scene) {
    const body = JSON.stringify(layoutBody(scene));
    if (body === layoutKey) return;
    layoutKey = body;
    const keys = scene.objects.map(({ key }) => key);
    const known = layouts.get(body);
    if (known) {
      useLayout(keys, known);
      return;
    }
    lane.put("layout", (signal) => api.post("layout", body, signal), { urgent: true }).then(
      (reply) => {
        layouts.set(body, reply);
        if (body === layoutKey) useLayout(keys, reply);
        checkVersion(reply);
      },
      (error) => {
        if (!(error instanceof Refused)) return;
        if (body === layoutKey) set({ cycles: [], error: { text: error.message, field: error.field } });
      },
    );
  }

  function useLayout(keys, { boxes, contradictions }) {
    const predicted = { ...state().predicted };
    keys.forEach((key, position) => {
      predicted[key] = boxes[position];
    });
    set({ predicted, cycles: contradictions ?? [], cyclesOf: layoutKey });
  }

  // Ids belong to a version of a model, so both are named: others refuse them.
  const pinned = (body) => {
    const { version, id } = state().model;
    return JSON.stringify({ ...body, version, model: id });
  };
  const bodyOf = (scene) => pinned(composeBody(scene, state().pool));

  function wantImage(scene) {
    const body = bodyOf(scene);
    if (body === composeKey) {
      rest();
      return;
    }
    const dragging = state().draft !== null;
    composeKey = body;
    const keys = scene.objects.map(({ key }) => key);
    const known = composed.get(body);
    if (known) {
      lane.drop("compose");
      useImage(body, keys, known);
      return;
    }
    if (!state().waiting) set({ waiting: true });
    lane.put("compose", (signal) => api.post("compose", body, signal), { urgent: !dragging }).then(
      (reply) => {
        const sample = reply.samples[0];
        composed.set(body, sample);
        // During a drag the image of a moment ago is shown; afterwards only that of the scene.
        if (body === composeKey || state().draft !== null) useImage(body, keys, sample);
      },
      (error) => {
        if (checkGone(error) || error instanceof Replaced || body !== composeKey) return;
        set({ waiting: false, error: { text: error.message, field: error.field ?? null } });
        say(error.message);
        wake();
      },
    );
  }

  function useImage(body, keys, sample) {
    const objects = {};
    const known = { ...state().known };
    keys.forEach((key, position) => {
      const one = sample.objects[position];
      objects[key] = one;
      if (one.patch.id !== null) known[one.patch.id] = one.patch;
    });
    const isLast = body === composeKey;
    set({
      sample: { image: sample.image, objects, order: sample.order },
      known,
      waiting: !isLast,
      error: isLast ? null : state().error,
    });
    rest();
  }

  /** Nothing is held or awaited any more; the answer may have come while a box was held. */
  function rest() {
    if (state().waiting || state().draft) return;
    settle();
    wake();
  }

  /** Keeps what was chosen: the image of the filled scene is the same, so it is not asked for. */
  function settle() {
    const sample = composed.get(composeKey);
    const scene = present();
    const ids = new Map();
    scene.objects.forEach(({ key, patch, own }, position) => {
      const id = sample?.objects[position].patch.id ?? null;
      if (patch === null && own === null && id !== null) ids.set(key, id);
    });
    if (!ids.size) return;
    const body = bodyOf(filled(scene, ids));
    composed.set(body, sample);
    composeKey = body;
    store.dispatch({ type: "settle", ids });
  }

  function wake() {
    for (const call of [...quiet]) call();
    quiet.clear();
  }

  /** Resolves when the image is that of the scene: then every object has its patch. */
  function shown() {
    if (!state().waiting) return Promise.resolve();
    return new Promise((resolve) => quiet.add(resolve)).then(shown);
  }

  // ---- one object ---------------------------------------------------------------------------

  function remember(rows) {
    const known = { ...state().known };
    for (const one of rows) known[one.id] = { ...known[one.id], ...one };
    set({ known });
  }

  const asked = (slot, job) =>
    lane.put(slot, job).catch((error) => {
      checkGone(error);
      throw error;
    });

  /** The candidates of an object: rows as /api/candidates gives them. */
  async function candidatesOf(key) {
    await shown();
    if (!objectOf(present(), key)) throw new Replaced();
    const { version } = state().model;
    const body = pinned(candidatesBody(present(), state().pool, key));
    const known = candidates.get(body);
    if (known) return known;
    const reply = await asked("candidates", (signal) => api.post("candidates", body, signal));
    if (version !== state().model.version) throw new Replaced();
    candidates.set(body, reply.candidates);
    remember(reply.candidates);
    return reply.candidates;
  }

  /** Patches near one. */
  async function neighboursOf(id) {
    const { model } = state();
    const { licences } = present();
    const name = `${model.version}:${id}:${licences}`;
    const known = similar.get(name);
    if (known) return known;
    const reply = await asked("neighbours", (signal) => api.neighbours(model, id, licences, signal));
    similar.set(name, reply.neighbours);
    remember(reply.neighbours);
    return reply.neighbours;
  }

  function tell(error) {
    if (error instanceof Replaced) return;
    checkGone(error);
    say(error.message);
    notice(error.message);
  }

  async function drawOne(key) {
    await shown();
    const object = objectOf(present(), key);
    if (!object) return;
    const name = nameOf(present(), key);
    if (object.own !== null) return say(`${name} has your own picture; remove it to draw a patch.`);
    if (object.locked) return say(`${name} is locked; unlock it to draw another patch.`);
    const rows = await candidatesOf(key);
    const { draw } = present();
    const { shown: seen, patch } = objectOf(present(), key);
    const list = patch === null ? seen : [...seen.filter((id) => id !== patch), patch];
    const { scale } = state().model;
    const next = drawAnother(rows, list, {
      seed: mixed(draw.seed, key),
      scale: scale ?? 1,
      temperature: draw.temperature,
    });
    if (next === null) return say(`There is no other patch for ${name}.`);
    edit(`another ${name}`, (scene) => withPatch(scene, key, next.id, next.shown));
    if (next.over) say(`All ${rows.length} patches of ${name} were shown; it starts over.`);
    else say(`Another ${name}: ${next.shown.length} of ${rows.length} shown.`);
    return undefined;
  }

  /** Another patch for one object, the others unchanged; calls are carried out one by one. */
  function reroll(key) {
    rerolls = rerolls.then(() => drawOne(key)).catch(tell);
    return rerolls;
  }

  async function swap(key, id) {
    await shown();
    const object = objectOf(present(), key);
    if (!object || object.patch === id) return;
    const name = nameOf(present(), key);
    const seen = [...object.shown.filter((one) => one !== id), id];
    edit(`swap ${name}`, (scene) => withPatch(scene, key, id, seen));
    say(`${name} has another patch.`);
  }

  async function lock(key) {
    await shown();
    const object = objectOf(present(), key);
    if (!object) return;
    const name = nameOf(present(), key);
    if (object.own !== null) return say(`${name} has your own picture, which always stays.`);
    if (object.patch === null) return say(`${name} has no patch yet.`);
    const locked = !object.locked;
    edit(`${locked ? "lock" : "unlock"} ${name}`, (scene) => changed(scene, key, { locked }));
    say(locked ? `${name} is locked: it stays when you draw again.` : `${name} is unlocked.`);
    return undefined;
  }

  async function giveOwn(key, file) {
    const { limits } = state().model;
    const name = nameOf(present(), key);
    if (!uploadTypes.includes(file.type)) {
      return tell(new Error(`${file.name}: use a PNG or JPEG picture.`));
    }
    if (file.size > limits.upload_bytes) {
      const most = Math.floor(limits.upload_bytes / 2 ** 20);
      return tell(new Error(`${file.name}: larger than ${most} MiB; make it smaller first.`));
    }
    try {
      await shown();
      const reply = await lane.put(`own:${key}`, (signal) => api.own(file, file.type, signal));
      const own = reply.sha256 ?? (await checksum(reply.png));
      store.dispatch({ type: "own", pool: { [own]: reply.png } });
      if (!objectOf(present(), key)) return undefined;
      edit(`own picture for ${name}`, (scene) => withOwn(scene, key, own));
      say(`${name} has your own picture.`);
    } catch (error) {
      tell(error);
    }
    return undefined;
  }

  async function removeOwn(key) {
    const name = nameOf(present(), key);
    edit(`remove own picture of ${name}`, (scene) => changed(scene, key, { own: null }));
  }

  // ---- the graph ----------------------------------------------------------------------------

  function add(category) {
    const { limits } = state().model;
    if (present().objects.length >= limits.objects) {
      return say(`This model draws at most ${limits.objects} objects; remove one first.`);
    }
    const key = present().nextKey;
    edit(`add ${category}`, (scene) => withObject(scene, category));
    store.dispatch({ type: "select", key });
    say(`${nameOf(present(), key)} added.`);
    return key;
  }

  function remove(key) {
    const name = nameOf(present(), key);
    edit(`remove ${name}`, (scene) => withoutObject(scene, key));
    say(`${name} removed.`);
  }

  /** Removes an object, and chooses the next one: so that keys can go on. */
  function removeAndGoOn(key) {
    const at = positionOf(present(), key);
    remove(key);
    const { objects } = present();
    const next = objects[Math.min(at, objects.length - 1)]?.key ?? null;
    store.dispatch({ type: "select", key: next });
    const inPicture = document.activeElement?.closest?.("svg.boxes") !== null;
    if (next !== null && inPicture) document.getElementById(`box-${next}`)?.focus();
  }

  /** Adds a relation, or says why not. Returns whether it was added. */
  function relate(subject, predicate, object) {
    const scene = present();
    const words = `${nameOf(scene, subject)} ${predicate} ${nameOf(scene, object)}`;
    const { limits } = state().model;
    if (subject === object) say("A relation needs two different objects.");
    else if (related(scene, subject, predicate, object)) say(`${words}: is there already.`);
    else if (scene.relations.length >= limits.relationships) {
      say(`This model takes at most ${limits.relationships} relations; remove one first.`);
    } else {
      edit(words, (one) => withRelation(one, subject, predicate, object));
      say(`${words}.`);
      return true;
    }
    return false;
  }

  // ---- connecting: choose the subject, the object, the predicate ----------------------------

  function connect() {
    const { selected } = state();
    if (present().objects.length < 2) return say("A relation needs two objects; add another.");
    closeSamples();
    set({ connect: { subject: selected, object: null }, tab: "picture" });
    say(
      selected === null
        ? "Connect: choose the subject. Escape cancels."
        : `Connect ${nameOf(present(), selected)}: choose the object. Escape cancels.`,
    );
    return undefined;
  }

  const stopConnecting = () => set({ connect: null });

  /** The object that a click or Enter chose while connecting. */
  function choose(key) {
    const { connect: ends } = state();
    if (ends.subject === null) {
      set({ connect: { subject: key, object: null } });
      say(`Subject: ${nameOf(present(), key)}. Choose the object.`);
    } else if (key === ends.subject) say("Choose another object than the subject.");
    else {
      set({ connect: { ...ends, object: key, chosen: true } });
      say(`Object: ${nameOf(present(), key)}. Choose how they stand.`);
    }
  }

  function finishConnecting(predicate) {
    const { connect: ends } = state();
    if (relate(ends.subject, predicate, ends.object)) set({ connect: null });
  }

  function deriveRelations() {
    const scene = present();
    const boxes = scene.objects.map((one) => boxOf(state(), one) ?? FALLBACK);
    const { predicates, limits } = state().model;
    const rows = relationships(scene);
    const found = derived(boxes, rows, predicates, limits.relationships);
    if (!found.added && !found.changed) return say("The relations agree with the boxes already.");
    edit("relations from boxes", (one) => withRelationships(one, found.relationships));
    say(`From the boxes: ${found.added} relations added, ${found.changed} changed.`);
    return undefined;
  }

  // ---- the draw -----------------------------------------------------------------------------

  function drawAgain() {
    const { limits } = state().model;
    const { draw } = present();
    const seed = draw.mode === "sample" ? nextSeed(draw.seed, limits.seed) : draw.seed;
    edit("draw again", (scene) => drawnWith(scene, { seed }));
    say(draw.mode === "sample" ? `Drawn again with seed ${seed}.` : "Drawn again.");
  }

  const setDraw = (fields, label) => edit(label, (scene) => drawnWith(scene, fields), label);

  const makeMore = () => makeSamples(state().samples.rows.at(-1).seed);

  const closeSamples = () => {
    const { samples } = state();
    if (samples?.rows) set({ samples: { ...samples, open: false } });
    else set({ samples: null });
  };

  /** Of what samples are: the same for scenes that have the same ones. */
  const aboutOf = (free) =>
    JSON.stringify([state().model.version, composeBody(drawnWith(free, { seed: 0 }), state().pool)]);

  /**
   * Shows eight samples; the last eight again if they are still of this scene.
   *
   * @param after the seed before the first one; null: the last eight, or those after the scene's.
   */
  async function makeSamples(after = null) {
    const { model, pool, samples } = state();
    const free = freed(present());
    const keys = free.objects.map(({ key }) => key);
    const about = aboutOf(free);
    set({ connect: null, tab: "picture" });
    if (after === null && samples?.about === about) {
      set({ samples: { ...samples, open: true } });
      return;
    }
    const scene = { ...free, draw: { ...free.draw, seed: after ?? free.draw.seed } };
    const count = Math.min(SAMPLES, model.limits.draws);
    const body = pinned(samplesBody(scene, pool, count, model.limits.seed));
    const mine = { open: true, body, about, keys };
    set({ samples: mine });
    try {
      const reply = await lane.put("samples", (signal) => api.post("compose", body, signal), {
        urgent: true,
      });
      if (state().samples?.body !== body) return;
      set({ samples: { ...mine, open: state().samples.open, rows: reply.samples } });
      say(`${reply.samples.length} samples are ready.`);
    } catch (error) {
      if (error instanceof Replaced) return;
      checkGone(error);
      if (state().samples?.body === body) set({ samples: { ...mine, error: error.message } });
      say(error.message);
    }
  }

  /** Takes over a sample: its seed and its patches. */
  function useSample(row) {
    const { samples } = state();
    if (samples.about !== aboutOf(freed(present()))) {
      say("The scene has changed since; these are its samples.");
      return makeSamples();
    }
    const ids = new Map(samples.keys.map((key, at) => [key, row.objects[at]?.patch.id ?? null]));
    edit(`use the sample with seed ${row.seed}`, (scene) => {
      const drawn = drawnWith(scene, { seed: row.seed, mode: "sample" });
      return {
        ...drawn,
        objects: drawn.objects.map((one) => {
          const id = ids.get(one.key) ?? null;
          if (one.locked || one.own !== null || id === null) return one;
          return { ...one, patch: id, shown: [id] };
        }),
      };
    });
    closeSamples();
    say(`Using the sample with seed ${row.seed}.`);
    return undefined;
  }

  /** Allows these licences; asks about locked patches under others. @param codes null: all */
  async function setLicences(codes) {
    const refused = (one) => {
      const patch = one.own === null && one.patch !== null ? state().known[one.patch] : null;
      return codes !== null && patch && !codes.includes(patch.code);
    };
    const held = present().objects.filter((one) => one.locked && refused(one));
    if (held.length) {
      const names = held.map(
        (one) => `${nameOf(present(), one.key)} (${state().known[one.patch].code})`,
      );
      const answer = await ask({
        title: "Locked patches under these licences",
        text: `${names.join(", ")}: locked, and no longer allowed. Without unlocking, the filter stays as it was.`,
        choices: [
          { value: "unlock", label: "Unlock and draw them anew", main: true },
          { value: "cancel", label: "Leave the filter" },
        ],
      });
      if (answer !== "unlock") return;
    }
    edit("licences", (scene) => ({
      ...scene,
      licences: codes,
      objects: scene.objects.map((one) =>
        refused(one) ? { ...one, patch: null, locked: false, shown: [] } : one,
      ),
    }));
    say(codes === null ? "All licences are allowed." : `Allowed: ${codes.join(", ")}.`);
  }

  // ---- documents ----------------------------------------------------------------------------

  /** Asks the user; resolves to the value of the choice, null when closed. */
  function ask(question) {
    state().question?.answer(null);
    return new Promise((resolve) => {
      set({
        question: {
          ...question,
          answer: (value) => {
            set({ question: null });
            resolve(value);
          },
        },
      });
    });
  }

  /** Replaces the scene by a document that the server reads; undoable. */
  async function take(document, { label, ask: asks = false }) {
    let opened;
    try {
      opened = await lane.put("open", (signal) => api.open(document, signal));
    } catch (error) {
      tell(error);
      return false;
    }
    const { scene, pool } = await fromOpened(opened, checksum);
    if (asks && present().objects.length) {
      const count = scene.objects.length;
      const answer = await ask({
        title: `Open ${label}?`,
        text: `It has ${count} object${count === 1 ? "" : "s"} and takes the place of your scene. Undo brings yours back.`,
        choices: [
          { value: "open", label: "Open it", main: true },
          { value: "cancel", label: "Keep my scene" },
        ],
      });
      if (answer !== "open") return false;
    }
    store.dispatch({ type: "own", pool });
    set({ predicted: {}, samples: null });
    edit(`open ${label}`, () => scene);
    for (const text of opened.messages ?? []) notice(text);
    say(`Opened ${label}.`);
    return true;
  }

  async function example({ title, graph }) {
    const { scene } = await fromOpened({ graph }, checksum);
    edit(`example ${title}`, ({ draw, licences }) => ({ ...scene, draw, licences }));
    say(`${title}. Drag the boxes, or choose one to see its patch.`);
  }

  function clear() {
    edit("new scene", (scene) => ({ ...emptyScene(), draw: scene.draw, licences: scene.licences }));
    say("A new scene. Undo brings the old one back.");
  }

  const project = () => toProject(present(), state().pool, state().model);

  const archive = async () => {
    await shown();
    return lane.put("export", (signal) =>
      api.exported(pinned(exportBody(present(), state().pool)), signal),
    );
  };

  store.listen(follow);
  return {
    add,
    archive,
    ask,
    candidatesOf,
    choose,
    clear,
    closeSamples,
    connect,
    deriveRelations,
    drawAgain,
    edit,
    example,
    finishConnecting,
    giveOwn,
    lock,
    image: () => state().sample?.image ?? null,
    makeMore,
    makeSamples: () => makeSamples(),
    neighboursOf,
    project,
    redo,
    relate,
    remove,
    removeAndGoOn,
    removeOwn,
    reroll,
    retry: () => lane.retry(),
    say,
    set,
    setDraw,
    setLicences,
    shown,
    start,
    stopConnecting,
    swap,
    take,
    tell,
    undo,
    useSample,
    setBox: (key, box, label, same) => edit(label, (scene) => withBox(scene, key, box), same),
    patchUrl: (id) => api.patchUrl(state().model, id),
    patchBlob: api.patchBlob,
    hasToken: api.token !== null,
  };
}
