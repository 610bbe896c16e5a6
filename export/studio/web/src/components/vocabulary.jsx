import { useMemo, useState } from "preact/hooks";
import { useStudio } from "../context.js";
import { focusOn } from "../focus.js";
import { found } from "../search.js";
import { Icon } from "./icons.jsx";

export function Vocabulary() {
  const { model, scene, session, state } = useStudio();
  const [text, setText] = useState("");
  const rows = useMemo(() => found(model.objects, text), [model, text]);
  const full = scene.objects.length >= model.limits.objects;
  function add(name) {
    session.add(name);
    setText("");
  }
  return (
    <section class="panel" aria-labelledby="add-title">
      <h2 id="add-title">Add an object</h2>
      <form
        class="search"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          if (rows.length && text.trim() && !full) add(rows[0].name);
        }}
      >
        <Icon name="search" />
        <input
          id="search"
          type="search"
          autocomplete="off"
          placeholder={`Search ${model.objects.length} names`}
          aria-label="Search the vocabulary; Enter adds the first match"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape" || text !== "") return;
            focusOn(`#box-${state.selected}`); // what was added last
          }}
        />
      </form>
      {full && (
        <p class="hint">
          This model draws at most {model.limits.objects} objects; remove one to add another.
        </p>
      )}
      {rows.length ? (
        <ul class="vocabulary" aria-label="Vocabulary">
          {rows.map(({ name, patches }) => (
            <li key={name}>
              <button
                type="button"
                class="word"
                disabled={full}
                title={`Add ${name}: ${patches} patches`}
                onClick={() => add(name)}
              >
                <span>{name}</span>
                <span class="count" aria-label={`${patches} patches`}>
                  {patches}
                </span>
              </button>
            </li>
          ))}
        </ul>
      ) : (
        <p class="hint">
          No name has “{text.trim()}” in it. This model knows {model.objects.length} names.
        </p>
      )}
    </section>
  );
}
