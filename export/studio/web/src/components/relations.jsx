import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { useStudio } from "../context.js";
import { focusOn } from "../focus.js";
import { nameOf, related, withChangedRelation, withoutRelation } from "../scene.js";
import { wrongRelations } from "../wrong.js";
import { Icon } from "./icons.jsx";
import { Button, Select } from "./parts.jsx";

export const objectOptions = (scene) =>
  scene.objects.map((one) => ({ value: one.key, label: nameOf(scene, one.key) }));

const words = (scene, row) =>
  `${nameOf(scene, row.subject)} ${row.predicate} ${nameOf(scene, row.object)}`;

function Relation({ row, why, error }) {
  const { scene, model, session, state } = useStudio();
  const text = words(scene, row);
  function change(fields) {
    const next = { ...row, ...fields };
    if (next.subject === next.object) return session.say("A relation needs two different objects.");
    if (related(scene, next.subject, next.predicate, next.object)) {
      return session.say(`${words(scene, next)}: is there already.`);
    }
    session.edit(words(scene, next), (one) => withChangedRelation(one, row.key, fields));
    return undefined;
  }
  const objects = objectOptions(scene);
  const light = state.lit === row.key;
  return (
    <li
      class={`relation ${why ? "wrong-row" : ""} ${light ? "chosen" : ""}`}
      onFocusIn={() => session.set({ lit: row.key })}
      onPointerEnter={() => session.set({ lit: row.key })}
      onPointerLeave={() => session.set({ lit: null })}
    >
      <Select
        label={`Subject of “${text}”`}
        value={row.subject}
        options={objects}
        onValue={(value) => change({ subject: Number(value) })}
      />
      <Select
        class="predicate"
        label={`Predicate of “${text}”`}
        value={row.predicate}
        options={model.predicates.map((name) => ({ value: name, label: name }))}
        onValue={(predicate) => change({ predicate })}
      />
      <Select
        label={`Object of “${text}”`}
        value={row.object}
        options={objects}
        onValue={(value) => change({ object: Number(value) })}
      />
      <Button
        icon="close"
        name={`Remove the relation ${text}`}
        kind="ghost"
        onClick={() => {
          session.edit(`remove ${text}`, (one) => withoutRelation(one, row.key));
          session.say(`${text}: removed.`);
        }}
      />
      {why && (
        <p class="why">
          <Icon name="warning" size={14} /> {why}
        </p>
      )}
      {error && <p class="wrong">{error}</p>}
    </li>
  );
}

/** The relations as rows: the diagram in words. */
export function Relations() {
  const { state, scene, session } = useStudio();
  const wrong = wrongRelations(state, scene);
  const field = /relationships\[(\d+)\]/.exec(state.error?.field ?? "");
  const few = scene.objects.length < 2;
  return (
    <section class="panel" aria-labelledby="relations-title">
      <h2 id="relations-title">
        Relations <span class="quiet">{scene.relations.length || ""}</span>
      </h2>
      <ul class="relations" aria-label="Relations">
        {scene.relations.map((row, position) => (
          <Relation
            key={row.key}
            row={row}
            why={wrong[row.key]}
            error={field && Number(field[1]) === position ? state.error.text : null}
          />
        ))}
      </ul>
      <div class="actions">
        <Button
          icon="arrow"
          text="Connect"
          name="Connect two objects (C)"
          disabled={few}
          pressed={state.connect !== null}
          onClick={() => (state.connect ? session.stopConnecting() : session.connect())}
        />
        <Button
          text="From the boxes"
          name="Make the relations say what the boxes show"
          disabled={few}
          onClick={session.deriveRelations}
        />
      </div>
      {few && <p class="hint">With two objects or more, say how they stand to each other.</p>}
    </section>
  );
}

/** Choosing subject, object and predicate: by clicks on boxes, by lists, by keys. */
export function ConnectBar() {
  const { state, scene, model, session } = useStudio();
  const [text, setText] = useState("");
  const { subject, object } = state.connect;
  const choose = [{ value: "", label: "choose …" }, ...objectOptions(scene)];
  const step = subject === null ? "subject" : object === null ? "object" : "predicate";
  const many = model.predicates.length > 12;
  const wanted = text.trim().toLowerCase();
  const predicates = model.predicates.filter((name) => name.toLowerCase().includes(wanted));
  useLayoutEffect(() => {
    if (step !== "predicate" || state.connect.chosen) focusOn(`#connect-${step}`);
  }, [state.connect.chosen]);
  const back = useRef();
  back.current = subject === null ? "g.box" : `#box-${subject}`;
  useLayoutEffect(() => () => focusOn(back.current), []);
  const key = (value) => (value === "" ? null : Number(value));
  return (
    <div class="connect" role="group" aria-label="Connect two objects">
      <p class="connect-step">
        {step === "subject" && "Which object is it about? Click its box or choose it."}
        {step === "object" && `${nameOf(scene, subject)} … what? Click the other box or choose it.`}
        {step === "predicate" && "How do they stand to each other?"}
      </p>
      <div class="connect-fields">
        <Select
          id="connect-subject"
          label="Subject"
          value={subject}
          options={choose}
          onValue={(value) => session.set({ connect: { subject: key(value), object } })}
        />
        <span class="connect-word">…</span>
        <Select
          id="connect-object"
          label="Object"
          value={object}
          options={choose.map((one) => ({ ...one, disabled: one.value === subject }))}
          onValue={(value) => session.set({ connect: { subject, object: key(value) } })}
        />
        <Button text="Cancel" name="Cancel (Esc)" onClick={session.stopConnecting} />
      </div>
      {step === "predicate" && (
        <div class="connect-predicates">
          {many && (
            <input
              type="search"
              aria-label="Search the predicates"
              placeholder="Search"
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
          {predicates.slice(0, 60).map((name, position) => (
            <button
              type="button"
              class="button"
              key={name}
              id={position === 0 ? "connect-predicate" : undefined}
              aria-label={`${nameOf(scene, subject)} ${name} ${nameOf(scene, object)}`}
              onClick={() => session.finishConnecting(name)}
            >
              {name}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}
