import { useStudio } from "../context.js";
import { codeOf } from "../licences.js";
import { MODES } from "../scene.js";
import { Button, NumberField, Select } from "./parts.jsx";

const MODE_WORDS = {
  sample: "Drawn by lot",
  deterministic: "Most likely",
  nearest: "Nearest",
};

/** Which licences may be used, before anything is drawn. */
function Licences() {
  const { model, scene, session, state, patchOf } = useStudio();
  const all = model.licences.map(({ code }) => code);
  const allowed = scene.licences ?? all;
  const error = /licences/.test(state.error?.field ?? "") ? state.error.text : null;
  function toggle(code, on) {
    const codes = all.filter((one) => (one === code ? on : allowed.includes(one)));
    if (!codes.length) return session.say("Allow at least one licence.");
    session.setLicences(codes.length === all.length ? null : codes);
    return undefined;
  }
  return (
    <fieldset class="licences">
      <legend>Licences that may be used</legend>
      {model.licences.map(({ code, patches }) => {
        const used = scene.objects.filter((one) => {
          const patch = patchOf(one);
          return patch && codeOf(patch) === code;
        }).length;
        return (
          <label class="check" key={code}>
            <input
              type="checkbox"
              checked={allowed.includes(code)}
              onChange={(event) => {
                const { checked } = event.currentTarget;
                event.currentTarget.checked = allowed.includes(code); // until the state says so
                toggle(code, checked);
              }}
            />
            <span>
              {code}{" "}
              <span class="quiet">
                {patches} patches{used > 0 && `, ${used} here`}
              </span>
            </span>
          </label>
        );
      })}
      {error && <p class="wrong">{error}</p>}
    </fieldset>
  );
}

/** How the patches are drawn. */
export function Draw() {
  const { state, scene, model, session } = useStudio();
  const { draw } = scene;
  const none = scene.objects.length === 0;
  const byLot = draw.mode === "sample";
  const modes = MODES.filter((mode) => model.modes.includes(mode));
  const field = /seed|temperature|mode|draws/.test(state.error?.field ?? "");
  return (
    <section class="draw" aria-label="Draw">
      <div class="draw-row">
        <Button
          icon="dice"
          text="Draw again"
          kind="main"
          name="New patches for all that is not locked"
          disabled={none}
          onClick={session.drawAgain}
        />
        <Button
          icon="grid"
          text="Eight samples"
          name="Eight suggestions with the next seeds"
          disabled={none}
          pressed={Boolean(state.samples?.open)}
          onClick={() => (state.samples?.open ? session.closeSamples() : session.makeSamples())}
        />
        <NumberField
          label="Seed"
          value={draw.seed}
          least={0}
          most={model.limits.seed}
          step={1}
          digits={0}
          onValue={(value) => session.setDraw({ seed: Math.round(value) }, "seed")}
        />
      </div>
      {field && <p class="wrong">{state.error.text}</p>}
      <details class="more">
        <summary>
          How it is drawn{" "}
          <span class="quiet">
            {MODE_WORDS[draw.mode].toLowerCase()}
            {byLot && `, temperature ${draw.temperature}`}
            {scene.licences !== null && `, ${scene.licences.length} licences`}
          </span>
        </summary>
        <div class="draw-more">
          <label class="inline">
            Mode
            <Select
              label="Mode"
              value={draw.mode}
              options={modes.map((mode) => ({ value: mode, label: MODE_WORDS[mode] }))}
              onValue={(mode) => session.setDraw({ mode }, "mode")}
            />
          </label>
          <NumberField
            label="Temperature"
            value={draw.temperature}
            least={0.01}
            most={model.limits.temperature}
            step={0.1}
            digits={2}
            onValue={(temperature) => session.setDraw({ temperature }, "temperature")}
          />
          <p class="hint">
            {byLot
              ? "A higher temperature makes unlikely patches likelier. The same seed gives the same picture."
              : "Nothing is left to chance in this mode; seed and temperature have no effect."}
          </p>
          <Licences />
        </div>
      </details>
    </section>
  );
}
