import { useEffect, useState } from "preact/hooks";
import { useStudio } from "../context.js";
import { pngUrl } from "../files.js";
import { Icon } from "./icons.jsx";

/** A button; without text, `name` is what it is called. */
export function Button({ icon, name, text, kind = "", pressed, class: more = "", ...rest }) {
  return (
    <button
      type="button"
      class={`button ${kind} ${text ? "" : "bare"} ${more}`}
      aria-label={text ? undefined : name}
      title={name}
      aria-pressed={pressed}
      {...rest}
    >
      {icon && <Icon name={icon} />}
      {text && <span>{text}</span>}
    </button>
  );
}

/** The pixels of a patch. With a token the browser cannot send, they are fetched. */
export function Thumb({ id, own = null, alt = "", class: more = "" }) {
  const { session, state } = useStudio();
  const [blob, setBlob] = useState(null);
  const has = id !== null && id !== undefined && state.model.has_candidates;
  const byFetch = own === null && has && session.hasToken;
  const path = has ? session.patchUrl(id) : null;
  useEffect(() => {
    if (!byFetch) return undefined;
    let url = null;
    let over = false;
    session.patchBlob(path).then(
      (content) => {
        if (over) return;
        url = URL.createObjectURL(content);
        setBlob(url);
      },
      () => {},
    );
    return () => {
      over = true;
      setBlob(null);
      if (url) URL.revokeObjectURL(url);
    };
  }, [byFetch, path]);
  let source = blob;
  if (own !== null) source = pngUrl(state.pool[own] ?? "");
  else if (!has) source = null; // a model of an earlier contract does not tell pixels by id
  else if (!byFetch) source = path;
  if (!source) return <span class={`thumb none ${more}`} aria-hidden="true" />;
  return <img class={`thumb ${more}`} src={source} alt={alt} draggable={false} />;
}

/** A number as text: committed on Enter or when left; the last valid one stays otherwise. */
export function NumberField({ label, value, onValue, least, most, step, unit = "", digits = 1 }) {
  const shown = value === null ? "" : String(Math.round(value * 10 ** digits) / 10 ** digits);
  const [text, setText] = useState(shown);
  const [wrong, setWrong] = useState(null);
  useEffect(() => {
    setText(shown);
    setWrong(null);
  }, [shown]);
  function take(content) {
    const number = Number(content.trim().replace(",", "."));
    if (content.trim() === "" || !Number.isFinite(number) || number < least || number > most) {
      setWrong(`${label}: a number from ${least} to ${most}`);
      return;
    }
    setWrong(null);
    if (content !== shown) onValue(number);
  }
  const id = `number-${label.replace(/\W/g, "")}`;
  return (
    <div class="number">
      <label for={id}>
        {label}
        {unit && <span class="unit"> {unit}</span>}
      </label>
      <input
        id={id}
        type="number"
        inputmode="decimal"
        min={least}
        max={most}
        step={step}
        value={text}
        aria-invalid={wrong !== null}
        aria-describedby={wrong ? `${id}-wrong` : undefined}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => take(event.currentTarget.value)}
      />
      {wrong && (
        <span class="wrong" id={`${id}-wrong`}>
          {wrong}
        </span>
      )}
    </div>
  );
}

/** One of a few: radio buttons that look like one control. */
export function Segments({ label, value, options, onValue }) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map((one) => (
        <button
          type="button"
          key={one.value}
          aria-pressed={one.value === value}
          disabled={one.disabled}
          title={one.title}
          onClick={() => onValue(one.value)}
        >
          {one.label}
        </button>
      ))}
    </div>
  );
}

/** A choice among objects of the scene or names. */
export function Select({ label, value, options, onValue, ...rest }) {
  return (
    <select
      aria-label={label}
      value={value ?? ""}
      onChange={(event) => onValue(event.currentTarget.value)}
      {...rest}
    >
      {options.map((one) => (
        <option key={one.value} value={one.value} disabled={one.disabled}>
          {one.label}
        </option>
      ))}
    </select>
  );
}
