// The whole state of the page, and how it changes.
import { committed, newHistory, redone, settled, undone } from "./history.js";
import { emptyScene, filled, objectOf } from "./scene.js";

export const initialState = () => ({
  history: newHistory(emptyScene()),
  draft: null, // the scene during a drag
  pool: {}, // own pictures: PNG (base64) by checksum
  selected: null, // key of an object
  connect: null, // {subject: key | null, object: key | null} while connecting
  model: null, // as /api/model describes it
  server: "loading", // or "ready", "busy", "gone"
  refusal: null, // why nothing works: {text}
  predicted: {}, // boxes by key of the object
  cycles: [], // contradictions of the relations: {relationship, text}
  cyclesOf: null, // the request that they answer
  lit: null, // key of the relation whose arrow stands out
  sample: null, // {key, image, objects: {key: description}}: what is shown
  waiting: false, // whether the shown image is not yet that of the scene
  error: null, // {text, field}: of the present scene
  known: {}, // patches by id, as the server described them
  samples: null, // {key, rows}: the eight
  notices: [], // {id, text}
  status: { text: "", count: 0 },
  question: null, // {title, text, choices, answer}
  tab: "picture", // on a phone
  save: { state: "saved" }, // or "other-tab", "conflict", "failed" with text
  view: { boxes: true, arrows: true, collage: false, smooth: true },
});

/** The scene as it is shown now. */
export const sceneOf = (state) => state.draft ?? state.history.present;

/** The box of an object as shown: given, or as predicted; null before the first prediction. */
export const boxOf = (state, object) => object.box ?? state.predicted[object.key] ?? null;

function withHistory(state, history) {
  const { present } = history;
  const stays = state.selected !== null && objectOf(present, state.selected);
  return { ...state, history, draft: null, selected: stays ? state.selected : null };
}

export function reduce(state, action) {
  switch (action.type) {
    case "commit": {
      const { scene, ...intent } = action;
      if (scene === state.history.present) return { ...state, draft: null };
      return withHistory(state, committed(state.history, scene, intent));
    }
    case "draft":
      return { ...state, draft: action.scene };
    case "settle":
      return { ...state, history: settled(state.history, filled(state.history.present, action.ids)) };
    case "undo":
      return withHistory({ ...state, connect: null }, undone(state.history));
    case "redo":
      return withHistory({ ...state, connect: null }, redone(state.history));
    case "restore":
      return {
        ...state,
        history: action.history,
        pool: action.pool,
        draft: null,
        selected: action.selected ?? null,
      };
    case "own":
      return { ...state, pool: { ...state.pool, ...action.pool } };
    case "select":
      return state.selected === action.key ? state : { ...state, selected: action.key };
    case "notice": {
      const id = (state.notices.at(-1)?.id ?? 0) + 1;
      if (state.notices.some(({ text }) => text === action.text)) return state;
      return { ...state, notices: [...state.notices, { id, text: action.text }].slice(-5) };
    }
    case "dismiss":
      return { ...state, notices: state.notices.filter(({ id }) => id !== action.id) };
    case "say":
      return { ...state, status: { text: action.text, count: state.status.count + 1 } };
    case "view":
      return { ...state, view: { ...state.view, ...action.view } };
    case "set":
      return { ...state, ...action.fields };
    default:
      throw new Error(`no such action: ${action.type}`);
  }
}

/** Holds the state; listeners hear of each change. */
export function createStore(state = initialState()) {
  const listeners = new Set();
  return {
    get: () => state,
    dispatch(action) {
      const before = state;
      state = reduce(state, action);
      if (state !== before) for (const listener of [...listeners]) listener(state, before);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
