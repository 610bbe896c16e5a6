import { useEffect, useRef, useState } from "preact/hooks";
import { useStudio } from "../context.js";
import { download } from "../files.js";
import { focusOn } from "../focus.js";
import { encodeLink, MOST_CHARACTERS } from "../link.js";
import { Icon } from "./icons.jsx";
import { Button } from "./parts.jsx";

const THEMES = { system: "System colours", light: "Light", dark: "Dark" };

/** A button that opens a list of actions. */
function Menu({ text, icon, name, items }) {
  const [open, setOpen] = useState(false);
  const root = useRef(null);
  useEffect(() => {
    if (!open) return undefined;
    const outside = (event) => {
      if (!root.current.contains(event.target)) setOpen(false);
    };
    addEventListener("pointerdown", outside);
    root.current.querySelector(".menu button")?.focus();
    return () => removeEventListener("pointerdown", outside);
  }, [open]);
  function keys(event) {
    const buttons = [...root.current.querySelectorAll(".menu button:not(:disabled)")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "Escape") {
      setOpen(false);
      root.current.querySelector("button").focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      buttons[(at + step + buttons.length) % buttons.length]?.focus();
    } else return;
    event.stopPropagation();
  }
  return (
    <div class="menu-root" ref={root} onKeyDown={open ? keys : undefined}>
      <Button
        icon={icon}
        text={text}
        name={name}
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      />
      {open && (
        <ul class="menu" aria-label={name}>
          {items.map((one) => (
            <li key={one.text}>
              <button
                type="button"
                disabled={one.disabled}
                aria-pressed={one.pressed}
                onClick={() => {
                  setOpen(false);
                  root.current.querySelector("button").focus();
                  one.act();
                }}
              >
                {one.text}
                {one.note && <span class="quiet">{one.note}</span>}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export function Header({ openFile }) {
  const { state, scene, model, session, dispatch } = useStudio();
  const { past, future } = state.history;
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "system");
  const file = useRef(null);
  const none = scene.objects.length === 0;

  function useTheme(next) {
    setTheme(next);
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("rgan_studio_theme", next);
    } catch {
      // it holds for this visit
    }
  }

  function saveFile() {
    const text = `${JSON.stringify(session.project(), null, 1)}\n`;
    download(new Blob([text], { type: "application/json" }), "scene.json");
    session.say("The scene is saved as scene.json.");
  }

  async function copyLink() {
    const own = scene.objects.some((one) => one.own !== null);
    const base = `${location.origin}${location.pathname}`;
    const link = own ? null : `${base}#g=${await encodeLink(session.project())}`;
    if (link === null || link.length > MOST_CHARACTERS) {
      const answer = await session.ask({
        title: "Too much for a link",
        text: own
          ? "A link cannot carry your own pictures; a file can."
          : `The link would have ${link.length} characters, and many programs cut them at ${MOST_CHARACTERS}. A file holds it all.`,
        choices: [
          { value: "file", label: "Save a file", main: true },
          { value: "cancel", label: "Cancel" },
        ],
      });
      if (answer === "file") saveFile();
      return;
    }
    try {
      await navigator.clipboard.writeText(link);
      session.say(`The link is copied: ${link.length} characters.`);
    } catch {
      await session.ask({
        title: "The link",
        text: "This browser does not let the page copy it; select it here.",
        field: link,
        choices: [{ value: "done", label: "Done", main: true }],
      });
    }
  }

  return (
    <header class="top">
      <button
        type="button"
        class="button main skip"
        onClick={() => focusOn("g.box, .example, .view-bar button")}
      >
        To the picture
      </button>
      <h1>
        rgan studio{" "}
        <span class="quiet">
          {model.name} · version {model.version}
        </span>
      </h1>
      <div class="top-actions">
        <Button
          icon="undo"
          name={past.length ? `Undo: ${past.at(-1).label} (Ctrl+Z)` : "Nothing to undo"}
          disabled={!past.length}
          onClick={() => session.undo()}
        />
        <Button
          icon="redo"
          name={future.length ? `Redo: ${future[0].label} (Ctrl+Shift+Z)` : "Nothing to redo"}
          disabled={!future.length}
          onClick={() => session.redo()}
        />
        <Menu
          text="Scene"
          name="The scene as a whole"
          items={[
            { text: "New", act: session.clear, disabled: none },
            { text: "Open a file …", note: "scene, sample or PNG", act: () => file.current.click() },
            { text: "Save as a file", act: saveFile, disabled: none },
            { text: "Copy a link", act: copyLink, disabled: none },
          ]}
        />
        <Menu
          icon="theme"
          name={`Colours: ${THEMES[theme]}`}
          items={Object.entries(THEMES).map(([value, text]) => ({
            text,
            pressed: value === theme,
            act: () => useTheme(value),
          }))}
        />
        <Button text="?" name="Keys (?)" onClick={() => session.set({ keys: true })} />
        <input
          ref={file}
          class="unseen"
          type="file"
          tabindex="-1"
          aria-label="Open a file"
          accept=".json,.png,application/json,image/png"
          onChange={(event) => {
            const [chosen] = event.currentTarget.files;
            if (chosen) openFile(chosen);
            event.currentTarget.value = "";
          }}
        />
      </div>
    </header>
  );
}

/** What stands in the way, or should be known. */
export function Notices({ turn }) {
  const { state, session, dispatch } = useStudio();
  const { save } = state;
  return (
    <div class="notices">
      {state.server === "gone" && (
        <p class="notice bad">
          <Icon name="warning" />
          <span>The server does not answer. Your work stays here, and is drawn when it is back.</span>
          <Button text="Try now" onClick={session.retry} />
        </p>
      )}
      {save.state === "other-tab" && (
        <p class="notice">
          <span>This scene is open in another tab, which saves it. Changes here are not saved.</span>
          <Button text="Save here instead" onClick={() => turn.take()} />
        </p>
      )}
      {save.state === "conflict" && (
        <p class="notice">
          <span>This browser keeps another scene for this model.</span>
          <Button text="Load that one" onClick={() => turn.settle("load")} />
          <Button text="Keep this one" onClick={() => turn.settle("keep")} />
        </p>
      )}
      {save.text && (
        <p class="notice bad">
          <Icon name="warning" />
          <span>{save.text}</span>
        </p>
      )}
      {state.notices.map((one) => (
        <p class="notice passing" key={one.id}>
          <span>{one.text}</span>
          <Button
            icon="close"
            name="Dismiss"
            kind="ghost"
            onClick={() => dispatch({ type: "dismiss", id: one.id })}
          />
        </p>
      ))}
    </div>
  );
}
