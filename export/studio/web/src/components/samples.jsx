import { useLayoutEffect } from "preact/hooks";
import { useStudio } from "../context.js";
import { focusOn } from "../focus.js";
import { pngUrl } from "../files.js";
import { Button } from "./parts.jsx";

/** The present picture and eight suggestions, instead of the picture. */
export function SampleGrid() {
  const { state, scene, session } = useStudio();
  const { rows } = state.samples;
  useLayoutEffect(() => {
    if (rows) focusOn(".sample-grid li:nth-child(2) > button");
  }, [rows]);
  useLayoutEffect(() => () => focusOn(".draw [aria-pressed]"), []);
  const tiles = rows ?? Array(8).fill(null);
  return (
    <ul class="sample-grid" aria-label="Samples">
      <li>
        <button type="button" class="sample" onClick={session.closeSamples}>
          {state.sample && <img src={pngUrl(state.sample.image)} alt="" draggable={false} />}
          <span>Now · seed {scene.draw.seed}</span>
        </button>
      </li>
      {tiles.map((row, at) => (
        <li key={at}>
          {row ? (
            <button type="button" class="sample" onClick={() => session.useSample(row)}>
              <img src={pngUrl(row.image)} alt="" draggable={false} />
              <span>
                Use this one <span class="seed">· seed {row.seed}</span>
              </span>
            </button>
          ) : (
            <span class="sample waits" />
          )}
        </li>
      ))}
    </ul>
  );
}

/** What belongs to the samples, below them. */
export function SampleBar() {
  const { state, session } = useStudio();
  const { rows, error } = state.samples;
  return (
    <div class="connect sample-bar" role="group" aria-label="Eight samples">
      <p class="connect-step">
        {error ?? (rows ? "Which one? It takes the place of the present picture." : "Drawing …")}
      </p>
      <div class="connect-fields">
        <Button text="Eight more" onClick={session.makeMore} disabled={!rows} />
        <Button text="Close" name="Close the samples (Esc)" onClick={session.closeSamples} />
      </div>
    </div>
  );
}
