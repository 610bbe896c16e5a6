import { useEffect, useRef, useState } from "preact/hooks";
import { useStudio } from "../context.js";
import { Replaced } from "../lane.js";
import { candidatesBody } from "../requests.js";
import { Segments, Thumb } from "./parts.jsx";

const ORDERS = {
  graph: { label: "Fits the graph", distance: (one) => one.distance },
  others: { label: "Fits the others", distance: (one) => one.group_distance },
  similar: { label: "Similar", distance: (one) => one.distance },
};

/** Rows in an order, the nearest first. */
const ordered = (rows, order) =>
  order === "similar"
    ? rows
    : [...rows].sort((one, other) => ORDERS[order].distance(one) - ORDERS[order].distance(other));

/** Other patches for an object, as pictures to choose from. */
export function Alternatives({ object, name }) {
  const { state, scene, model, session } = useStudio();
  const [order, setOrder] = useState("graph");
  const [answer, setAnswer] = useState({});
  const scroller = useRef(null);
  const { key, patch } = object;
  const similar = order === "similar" && patch !== null;
  const about = similar
    ? `similar:${patch}:${scene.licences}:${model.version}`
    : JSON.stringify([candidatesBody(scene, {}, key), scene.objects.map((one) => one.own)]);
  const ready = state.waiting === false && state.draft === null;
  useEffect(() => {
    if (!ready || !model.has_candidates) return undefined;
    let over = false;
    const asked = similar ? session.neighboursOf(patch) : session.candidatesOf(key);
    asked.then(
      (rows) => !over && setAnswer({ rows, about, key }),
      (error) => {
        if (!over && !(error instanceof Replaced)) {
          setAnswer({ error: error.message, about, key });
        }
      },
    );
    return () => {
      over = true;
    };
  }, [about, ready, model]);
  useEffect(() => {
    // Only the list scrolls: scrollIntoView would move the page on a phone.
    const list = scroller.current;
    const chosen = list?.querySelector(".chosen");
    if (chosen) list.scrollTop = chosen.offsetTop - list.clientHeight / 2;
  }, [answer, order]);
  if (!model.has_candidates) {
    return (
      <div class="alternatives">
        <h3>Alternatives</h3>
        <p class="hint">
          This model was exported before it could name alternatives (contract {model.contract}).
          Export it again to swap patches and to draw one object again.
        </p>
      </div>
    );
  }
  // The list of the object before this one must not be there to click on.
  const { rows = null, error } = answer.key === key ? answer : {};
  const alone = rows !== null && !similar && rows.every((one) => one.group_distance === null);
  const stale = answer.about !== about;
  const by = similar ? "similar" : order === "others" && !alone ? "others" : "graph";
  const list = rows === null ? [] : ordered(rows, by);
  return (
    <div class="alternatives">
      <h3>
        Alternatives <span class="quiet">{rows && !stale ? rows.length : ""}</span>
      </h3>
      <Segments
        label="Order of the alternatives"
        value={order}
        options={[
          { value: "graph", label: ORDERS.graph.label, title: "Nearest to what the graph asks for" },
          { value: "others", label: ORDERS.others.label, title: "Nearest to the other patches" },
          {
            value: "similar",
            label: ORDERS.similar.label,
            title: "Patches that look like the present one",
            disabled: patch === null,
          },
        ]}
        onValue={setOrder}
      />
      {order === "others" && alone && !stale && (
        <p class="hint">No other object has a patch yet, so they are ordered by the graph.</p>
      )}
      {error && <p class="wrong">{error}</p>}
      {rows === null && !error && <p class="hint">Looking …</p>}
      {rows !== null && !list.length && <p class="hint">There is no other patch.</p>}
      <ol ref={scroller} class={stale ? "patches stale" : "patches"} aria-label={`Alternatives for ${name}`}>
        {list.map((one, position) => {
          const chosen = one.id === patch;
          const distance = ORDERS[by].distance(one);
          const words = `Patch ${one.id}, ${one.category}, number ${position + 1}, ${one.code}`;
          return (
            <li key={one.id}>
              <button
                type="button"
                class={chosen ? "patch chosen" : "patch"}
                aria-pressed={chosen}
                aria-label={words}
                title={`${words}${distance === null ? "" : `, distance ${distance.toFixed(3)}`}`}
                onClick={() => session.swap(key, one.id)}
              >
                <Thumb id={one.id} />
              </button>
            </li>
          );
        })}
      </ol>
    </div>
  );
}
