import { useRef } from "preact/hooks";
import { useStudio } from "../context.js";
import { height, width, withNumber } from "../geometry.js";
import { nameOf, objectOf, withBox, withCategory } from "../scene.js";
import { wrongRelations } from "../wrong.js";
import { Alternatives } from "./alternatives.jsx";
import { Source } from "./credits.jsx";
import { Icon } from "./icons.jsx";
import { Button, NumberField, Select, Thumb } from "./parts.jsx";

function BoxFields({ object, name }) {
  const { session, boxOf } = useStudio();
  const box = boxOf(object);
  if (!box) return null;
  const numbers = { x: box[0], y: box[1], width: width(box), height: height(box) };
  const given = object.box !== null;
  return (
    <fieldset class="box-fields">
      <legend>
        Box <span class="quiet">{given ? "given by you" : "predicted"}</span>
      </legend>
      <div class="numbers">
        {Object.entries(numbers).map(([field, value]) => (
          <NumberField
            key={field}
            label={{ x: "Left", y: "Top", width: "Width", height: "Height" }[field]}
            unit="%"
            value={value * 100}
            least={field === "x" || field === "y" ? 0 : 2}
            most={100}
            step={1}
            onValue={(number) =>
              session.setBox(
                object.key,
                withNumber(box, field, number / 100),
                `${field} of ${name}`,
                `${field}:${object.key}`,
              )
            }
          />
        ))}
      </div>
      <Button
        icon="back"
        text="Back to predicted"
        name="Let the model place it again"
        disabled={!given}
        onClick={() => {
          session.edit(`${name} back to predicted`, (scene) => withBox(scene, object.key, null));
          session.say(`${name}: the model places it again.`);
        }}
      />
    </fieldset>
  );
}

/** What one object is made of, and what can be changed about it. */
export function Inspector() {
  const { state, scene, model, session, dispatch, patchOf } = useStudio();
  const upload = useRef(null);
  const object = objectOf(scene, state.selected);
  if (!object) {
    return (
      <section class="panel inspector none" aria-labelledby="inspector-title">
        <h2 id="inspector-title">Object</h2>
        <p class="hint">
          {scene.objects.length
            ? "Choose an object, in the picture or in the list, to see what it is made of."
            : "Each object of the picture is made from one patch of a real image. Here you see which, and choose another."}
        </p>
      </section>
    );
  }
  const { key } = object;
  const name = nameOf(scene, key);
  const patch = patchOf(object);
  const mine = object.own !== null;
  const field = /(?:objects|boxes|patches|own)[.[](\d+)/.exec(state.error?.field ?? "");
  const error = field && scene.objects[Number(field[1])]?.key === key ? state.error.text : null;
  const reasons = Object.entries(wrongRelations(state, scene)).filter(([row]) =>
    scene.relations.some(
      (one) => String(one.key) === row && (one.subject === key || one.object === key),
    ),
  );
  const description = state.sample?.objects[key];
  return (
    <section class="panel inspector" aria-labelledby="inspector-title">
      <div class="inspector-head">
        <Thumb id={patch?.id ?? object.patch} own={object.own} class="large" />
        <div>
          <h2 id="inspector-title">
            <span id="inspector" tabindex="-1">
              {name}
            </span>
          </h2>
          {mine && <p class="quiet">your own picture</p>}
          {!mine && patch && (
            <p class="quiet">
              patch {patch.id} · {patch.code}
              {object.locked && " · locked"}
            </p>
          )}
          {!mine && !patch && <p class="quiet">no patch yet</p>}
          {!mine && description?.category_found === false && patch && (
            <p class="hint">This patch shows: {patch.category}. None of {object.category} was free.</p>
          )}
        </div>
      </div>
      {error && (
        <p class="wrong" role="presentation">
          {error}{" "}
          {object.patch !== null && (
            <Button
              text="Free this patch"
              onClick={() =>
                session.edit(`free ${name}`, (one) => withCategory(one, key, object.category))
              }
            />
          )}
        </p>
      )}
      <div class="actions">
        <Button
          icon="dice"
          text={`Another ${object.category}`}
          name="Another patch, the others unchanged (R)"
          kind="main"
          disabled={mine || object.locked || !model.has_candidates}
          onClick={() => session.reroll(key)}
        />
        <Button
          icon={object.locked ? "lock" : "open"}
          text={object.locked ? "Locked" : "Lock"}
          name={mine ? "Your own picture stays anyway" : "Keep this patch when you draw again (L)"}
          pressed={object.locked}
          disabled={mine}
          onClick={() => session.lock(key)}
        />
        <Button
          icon="own"
          text={mine ? "Other picture …" : "Own picture …"}
          name="A picture of your own in place of the patch"
          onClick={() => upload.current.click()}
        />
        <input
          ref={upload}
          class="unseen"
          type="file"
          tabindex="-1"
          aria-label={`A picture of your own for ${name}: PNG or JPEG`}
          accept="image/png,image/jpeg"
          onChange={(event) => {
            const [file] = event.currentTarget.files;
            if (file) session.giveOwn(key, file);
            event.currentTarget.value = "";
          }}
        />
        {mine && (
          <Button text="Remove own picture" icon="close" onClick={() => session.removeOwn(key)} />
        )}
      </div>
      {reasons.map(([row, why]) => (
        <p class="why" key={row}>
          <Icon name="warning" size={14} /> {why}
        </p>
      ))}
      <Alternatives object={object} name={name} />
      <BoxFields object={object} name={name} />
      {patch && !mine && (
        <details class="more">
          <summary>Where this patch comes from</summary>
          <Source patch={patch} />
        </details>
      )}
      <div class="actions end">
        <label class="inline">
          Change to
          <Select
            label={`Change ${name} to`}
            value={object.category}
            options={model.objects.map((one) => ({ value: one.name, label: one.name }))}
            onValue={(category) =>
              session.edit(`${name} becomes ${category}`, (one) => withCategory(one, key, category))
            }
          />
        </label>
        <Button
          icon="close"
          text="Remove"
          name="Remove it (Delete)"
          onClick={() => {
            session.remove(key);
            dispatch({ type: "select", key: null });
          }}
        />
      </div>
    </section>
  );
}
