import { useLayoutEffect, useRef } from "preact/hooks";
import { useStudio } from "../context.js";
import { Button } from "./parts.jsx";

/** A dialog that holds the focus until it is closed. */
function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => {
      if (before instanceof HTMLElement || before instanceof SVGElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div class="dialog">
        <h2 id="dialog-title">{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

/** The question that `session.ask` put. */
export function Question() {
  const { state } = useStudio();
  const { question } = state;
  if (!question) return null;
  return (
    <Dialog title={question.title} onClose={() => question.answer(null)}>
      <p>{question.text}</p>
      {question.field && (
        <textarea
          readonly
          rows="4"
          aria-label={question.title}
          onFocus={(event) => event.currentTarget.select()}
          value={question.field}
        />
      )}
      <div class="actions">
        {question.choices.map((one) => (
          <Button
            key={one.value}
            text={one.label}
            kind={one.main ? "main" : ""}
            onClick={() => question.answer(one.value)}
          />
        ))}
      </div>
    </Dialog>
  );
}

const KEYS = [
  ["Tab", "to the next box, row or button"],
  ["Arrow keys", "move the box by 1 %"],
  ["Shift + arrows", "resize the box by 1 %"],
  ["Alt with either", "by 0.1 % instead"],
  ["Enter", "on a box: to its patch; while connecting: choose it"],
  ["R", "draw the chosen object again"],
  ["L", "lock or unlock it"],
  ["C", "connect it with another"],
  ["Delete", "remove it"],
  ["/", "search the vocabulary"],
  ["Esc", "cancel a drag, connecting, samples, a dialog"],
  ["Ctrl/⌘ + Z", "undo"],
  ["Ctrl/⌘ + Shift + Z", "redo, like Ctrl/⌘ + Y"],
  ["?", "this list"],
];

export function Keys() {
  const { state, session } = useStudio();
  if (!state.keys) return null;
  const close = () => session.set({ keys: false });
  return (
    <Dialog title="Keys" onClose={close}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">Letters work while no field has the focus.</p>
      <div class="actions">
        <Button text="Close" kind="main" onClick={close} />
      </div>
    </Dialog>
  );
}
