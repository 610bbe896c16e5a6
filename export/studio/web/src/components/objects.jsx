import { useStudio } from "../context.js";
import { nameOf } from "../scene.js";
import { isWrong, wrongRelations } from "../wrong.js";
import { Icon } from "./icons.jsx";
import { Button, Thumb } from "./parts.jsx";

/** The objects of the scene as a list: choose, see what they are, remove. */
export function Objects() {
  const { state, scene, session, dispatch, patchOf } = useStudio();
  const wrong = wrongRelations(state, scene);
  return (
    <section class="panel" aria-labelledby="objects-title">
      <h2 id="objects-title">
        Objects <span class="quiet">{scene.objects.length || ""}</span>
      </h2>
      {!scene.objects.length && <p class="hint">Nothing yet. Choose a name above.</p>}
      <ul class="rows">
        {scene.objects.map((one) => {
          const name = nameOf(scene, one.key);
          const patch = patchOf(one);
          return (
            <li key={one.key} class={one.key === state.selected ? "row chosen" : "row"}>
              <button
                type="button"
                class="row-main"
                aria-pressed={one.key === state.selected}
                onClick={() => {
                  if (state.connect) session.choose(one.key);
                  else dispatch({ type: "select", key: one.key });
                }}
              >
                <Thumb id={patch?.id ?? one.patch} own={one.own} />
                <span class="row-name">{name}</span>
                {one.locked && (
                  <span class="mark" title="locked">
                    <Icon name="lock" size={14} />
                    <span class="unseen">locked</span>
                  </span>
                )}
                {one.own !== null && <span class="tag">own</span>}
                {isWrong(wrong, scene, one) && (
                  <span class="mark warn" title="its box contradicts a relation">
                    <Icon name="warning" size={14} />
                    <span class="unseen">its box contradicts a relation</span>
                  </span>
                )}
              </button>
              <Button
                icon="close"
                name={`Remove ${name}`}
                kind="ghost"
                onClick={() => session.remove(one.key)}
              />
            </li>
          );
        })}
      </ul>
    </section>
  );
}
