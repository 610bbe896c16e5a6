import { useStudio } from "../context.js";
import { pngUrl } from "../files.js";
import { Button } from "./parts.jsx";

/** Eight suggestions; taking one over takes its seed and its patches. */
export function Samples() {
  const { state, session } = useStudio();
  const { samples } = state;
  if (!samples) return null;
  return (
    <section class="samples" aria-labelledby="samples-title">
      <div class="samples-head">
        <h2 id="samples-title">Eight samples</h2>
        <Button text="Eight more" onClick={session.makeMore} disabled={!samples.rows} />
        <Button
          icon="close"
          name="Close the samples"
          kind="ghost"
          onClick={() => session.set({ samples: null })}
        />
      </div>
      {samples.error && <p class="wrong">{samples.error}</p>}
      {!samples.rows && !samples.error && <p class="hint">Drawing …</p>}
      {samples.rows && (
        <ul class="sample-grid">
          {samples.rows.map((row) => (
            <li key={row.seed}>
              <button
                type="button"
                class="sample"
                onClick={() => session.useSample(row)}
              >
                {row.image && <img src={pngUrl(row.image)} alt="" draggable={false} />}
                <span>Use this one</span>
                <span class="quiet">seed {row.seed}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
