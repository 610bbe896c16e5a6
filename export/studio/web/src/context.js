import { createContext } from "preact";
import { useContext, useEffect, useReducer } from "preact/hooks";
import { boxOf, sceneOf } from "./state.js";

export const Studio = createContext(null);

/** The state, the scene as shown, and what changes them. */
export function useStudio() {
  const { store, session } = useContext(Studio);
  const state = store.get();
  const scene = sceneOf(state);
  return {
    state,
    scene,
    model: state.model,
    session,
    dispatch: store.dispatch,
    boxOf: (object) => boxOf(state, object),
    /** What is known of the present patch of an object, or null. */
    patchOf: (object) => {
      if (object.own !== null) return null;
      if (object.patch !== null) return state.known[object.patch] ?? null;
      return state.sample?.objects[object.key]?.patch ?? null;
    },
  };
}

/** Draws the component again whenever the state changes. */
export function useChanges(store) {
  const [, again] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    again();
    return store.listen(again);
  }, [store]);
}
