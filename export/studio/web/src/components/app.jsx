import { useContext, useEffect, useState } from "preact/hooks";
import { Studio, useChanges, useStudio } from "../context.js";
import { nameOf, objectOf } from "../scene.js";
import { under } from "../geometry.js";
import { readDocument } from "../documents.js";
import { focusOn } from "../focus.js";
import { Credits } from "./credits.jsx";
import { Keys, Question } from "./dialogs.jsx";
import { Draw } from "./draw.jsx";
import { Header, Notices } from "./header.jsx";
import { Inspector } from "./inspector.jsx";
import { Objects } from "./objects.jsx";
import { Button } from "./parts.jsx";
import { Picture } from "./picture.jsx";
import { ConnectBar, Relations } from "./relations.jsx";
import { SampleBar } from "./samples.jsx";
import { Take } from "./take.jsx";
import { Vocabulary } from "./vocabulary.jsx";

const TABS = { graph: "Graph", picture: "Picture", patches: "Patches" };

const inField = (target) =>
  target instanceof Element &&
  (target.closest("input, textarea, select, dialog") !== null || target.isContentEditable);

/** Keys that work wherever the focus is. */
function useKeys() {
  const { store, session } = useContext(Studio);
  useEffect(() => {
    function press(event) {
      const state = store.get();
      if (!state.model || event.defaultPrevented || state.draft) return;
      const key = event.key.toLowerCase();
      if ((event.ctrlKey || event.metaKey) && !event.altKey) {
        if (inField(event.target) && event.target.type !== "checkbox") return;
        if (key === "z" || key === "y") {
          event.preventDefault();
          if (key === "y" || event.shiftKey) session.redo();
          else session.undo();
        }
        return;
      }
      if (event.key === "Escape" && (state.connect || state.samples?.open)) {
        session.stopConnecting();
        session.closeSamples();
        return;
      }
      if (inField(event.target) || event.altKey) return;
      if (event.key === "?") session.set({ keys: true });
      else if (event.key === "/") {
        session.set({ tab: "graph" });
        focusOn("#search");
      } else if (key === "c") session.connect();
      else if (objectOf(state.history.present, state.selected)) {
        if (key === "l") session.lock(state.selected);
        else if (key === "r") session.reroll(state.selected);
        else if (event.key === "Delete" || event.key === "Backspace") {
          session.removeAndGoOn(state.selected);
        } else return;
      } else return;
      event.preventDefault();
    }
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [store, session]);
}

/** Files dropped on the page: scenes open; a picture on a box becomes its own picture. */
function useDrop(openFile) {
  const { store, session } = useContext(Studio);
  const [over, setOver] = useState(false);
  useEffect(() => {
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    function enter(event) {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    }
    function leave(event) {
      if (event.relatedTarget === null) setOver(false);
    }
    function drop(event) {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      const [file] = event.dataTransfer.files;
      if (!file) return;
      const state = store.get();
      const place = document.querySelector("svg.boxes")?.getBoundingClientRect();
      let key = null;
      if (place) {
        const point = [
          (event.clientX - place.left) / place.width,
          (event.clientY - place.top) / place.height,
        ];
        const { objects } = state.history.present;
        const boxes = objects.map((one) => one.box ?? state.predicted[one.key] ?? null);
        const [position] = under(boxes, point);
        if (position !== undefined) key = objects[position].key;
      }
      openFile(file, key);
    }
    addEventListener("dragenter", enter);
    addEventListener("dragover", enter);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragenter", enter);
      removeEventListener("dragover", enter);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, [openFile, session]);
  return over;
}

function ViewBar() {
  const { state, dispatch } = useStudio();
  const toggle = (name) => ({
    pressed: state.view[name],
    onClick: () => dispatch({ type: "view", view: { [name]: !state.view[name] } }),
  });
  return (
    <div class="view-bar" role="group" aria-label="What is shown">
      <Button icon="box" text="Boxes" kind="toggle" {...toggle("boxes")} />
      <Button icon="arrow" text="Arrows" kind="toggle" {...toggle("arrows")} />
      <Button
        icon="picture"
        text="Collage"
        name="The patches themselves, in their boxes"
        kind="toggle"
        {...toggle("collage")}
      />
      <Button
        text="Smooth"
        name="Smooth or with its pixels, here and in what you download"
        kind="toggle"
        {...toggle("smooth")}
      />
    </div>
  );
}

/** What is going on, in words. The live region in `App` says the same on every tab. */
function Status() {
  const { state } = useStudio();
  const { error, status, server } = state;
  const general = error && !error.field;
  return (
    <>
      {error && (
        <p class="wrong status-error">
          {error.text}
          {!general && ` (${error.field})`}
        </p>
      )}
      <p class="status">
        <span aria-hidden="true">{status.text}</span>
        {state.waiting && <span class="dot" aria-hidden="true" />}
        {server === "busy" && <span class="quiet"> The server is busy; it is drawn in turn.</span>}
      </p>
    </>
  );
}

export function App({ turn }) {
  const { store, session } = useContext(Studio);
  useChanges(store);
  useKeys();
  const state = store.get();
  const openFile = (file, key = null) => readDocument(file, { session, store, key });
  const over = useDrop(openFile);
  if (!state.model) {
    const gone = state.server === "gone" || state.refusal;
    return (
      <main class="blank">
        <h1>rgan studio</h1>
        <p role="status">
          {state.refusal?.text ?? (gone ? "The server does not answer." : "Loading …")}
        </p>
        {gone && (
          <Button
            text="Try again"
            kind="main"
            onClick={() => (state.refusal ? session.start() : session.retry())}
          />
        )}
      </main>
    );
  }
  const chosen = objectOf(state.history.present, state.selected);
  return (
    <div class={`app tab-${state.tab}`}>
      <Header openFile={openFile} />
      <Notices turn={turn} />
      <main class="work">
        <div class="column graph-column">
          <Vocabulary />
          <Objects />
          <Relations />
        </div>
        <div class="column picture-column">
          <ViewBar />
          <Picture />
          {state.connect && <ConnectBar />}
          {state.samples?.open && <SampleBar />}
          <Status />
          <div class="under">
            <Draw />
            <Take />
          </div>
        </div>
        <div class="column patches-column">
          <Inspector />
          <Credits />
        </div>
      </main>
      <nav class="tabs" aria-label="Parts of the studio">
        {Object.entries(TABS).map(([tab, text]) => (
          <button
            type="button"
            key={tab}
            aria-current={state.tab === tab ? "page" : undefined}
            onClick={() => session.set({ tab })}
          >
            {text}
            {tab === "patches" && chosen && (
              <span class="quiet"> {nameOf(state.history.present, chosen.key)}</span>
            )}
          </button>
        ))}
      </nav>
      <p class="unseen" role="status" aria-live="polite" key="live">
        {state.status.text}
      </p>
      {over && (
        <div class="drop" aria-hidden="true">
          <p>Drop a scene (JSON or PNG), or a picture onto a box.</p>
        </div>
      )}
      <Question />
      <Keys />
    </div>
  );
}
