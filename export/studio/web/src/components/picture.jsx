import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useStudio } from "../context.js";
import { pngUrl } from "../files.js";
import {
  area,
  centre,
  CORNERS,
  EDGES,
  height,
  holds,
  moved,
  placeInWords,
  resized,
  towards,
  under,
  width,
} from "../geometry.js";
import { focusOn } from "../focus.js";
import { nameOf, objectOf, positionOf, withBox } from "../scene.js";
import { isWrong, wrongRelations } from "../wrong.js";
import { Empty } from "./empty.jsx";
import { PATHS } from "./icons.jsx";
import { Thumb } from "./parts.jsx";
import { SampleGrid } from "./samples.jsx";

const MARK = 15; // px of an icon before a name
const CLICK = 3; // px that a pointer may move in a click
const EDGE = 7; // px beside an edge of the chosen box that still belong to it

/** The side of an element in px, followed as it changes. */
function useSide(ref) {
  const [side, setSide] = useState(400);
  useLayoutEffect(() => {
    const watcher = new ResizeObserver(([entry]) => setSide(entry.contentRect.width || 400));
    watcher.observe(ref.current);
    return () => watcher.disconnect();
  }, [ref]);
  return side;
}

const places = (box, side) => ({
  x: box[0] * side,
  y: box[1] * side,
  width: width(box) * side,
  height: height(box) * side,
});

const handlePlace = (handle, box) => [
  handle.includes("w") ? box[0] : handle.includes("e") ? box[2] : centre(box)[0],
  handle.includes("n") ? box[1] : handle.includes("s") ? box[3] : centre(box)[1],
];

/** Where the names stand: at the top left of each box, moved down where another one is. */
function labelPlaces(names, marks, boxes, side) {
  const taken = [];
  return names.map((name, at) => {
    if (!boxes[at]) return null;
    const wide = name.length * 7.5 + 12 + marks[at].length * MARK;
    const x = Math.max(0, Math.min(boxes[at][0] * side + 5, side - wide));
    let y = Math.min(boxes[at][1] * side + 16, side - 5);
    const meets = (one) => Math.abs(one.y - y) < 15 && x < one.x + one.wide && one.x < x + wide;
    for (let tries = 0; tries < 8 && taken.some(meets); tries += 1) y += 15;
    taken.push({ x, y, wide });
    return { x, y };
  });
}

function Arrow({ row, boxes, side, lit, wrong }) {
  const [subject, object] = boxes;
  const [to, from] = [centre(object), centre(subject)];
  const inside = holds(object, from) || holds(subject, to);
  const [x0, y0] = (inside ? from : towards(subject, to)).map((value) => value * side);
  const [x1, y1] = (inside ? to : towards(object, from)).map((value) => value * side);
  const kind = `arrow ${lit ? "lit" : ""} ${wrong ? "wrong-arrow" : ""}`;
  return (
    <g class={kind}>
      <line class="halo" x1={x0} y1={y0} x2={x1} y2={y1} />
      <line x1={x0} y1={y0} x2={x1} y2={y1} marker-end={`url(#${wrong ? "head-wrong" : "head"})`} />
      {lit && (
        <text x={(x0 + x1) / 2} y={(y0 + y1) / 2 - 5} text-anchor="middle">
          {row.predicate}
        </text>
      )}
    </g>
  );
}

export function Picture() {
  const { state, scene, session, dispatch, boxOf, patchOf } = useStudio();
  const frame = useRef(null);
  const svg = useRef(null);
  const drag = useRef(null);
  const side = useSide(frame);
  const { view, selected, connect } = state;
  const wrong = wrongRelations(state, scene);
  const boxes = scene.objects.map(boxOf);

  const names = scene.objects.map(({ key }) => nameOf(scene, key));
  const marks = scene.objects.map((one) => [
    ...(one.locked ? ["lock"] : []),
    ...(isWrong(wrong, scene, one) ? ["warning"] : []),
  ]);
  const labels = labelPlaces(names, marks, boxes, side);

  const pointOf = (event) => {
    const place = svg.current.getBoundingClientRect();
    return [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height];
  };

  function nearEdge(box, [x, y]) {
    const limit = EDGE / side;
    const inside = [box[0] + limit, box[1] + limit, box[2] - limit, box[3] - limit];
    const outside = [box[0] - limit, box[1] - limit, box[2] + limit, box[3] + limit];
    return holds(outside, [x, y]) && !holds(inside, [x, y]);
  }

  function start(event) {
    if (event.button !== 0 || !event.isPrimary || drag.current) return;
    const point = pointOf(event);
    const { handle } = event.target.dataset;
    const label = event.target.closest("[data-label]");
    const hits = under(boxes, point, connect ? null : positionOf(scene, selected))
      .map((position) => scene.objects[position].key)
      .filter((key) => key !== connect?.subject);
    const chosen = connect ? null : objectOf(scene, selected);
    let key = hits[0] ?? null;
    if (handle) key = selected;
    else if (label) key = Number(label.dataset.label);
    else if (chosen && boxOf(chosen) && nearEdge(boxOf(chosen), point)) key = selected;
    if (connect) {
      if (key !== null) session.choose(key);
      return;
    }
    if (key === null) {
      dispatch({ type: "select", key: null });
      return;
    }
    const box = boxOf(objectOf(scene, key));
    const again = !handle && key === selected && !label ? hits : null;
    drag.current = { key, handle, point, box, again, pointer: event.pointerId, moved: false };
    svg.current.setPointerCapture(event.pointerId);
    dispatch({ type: "select", key });
    document.getElementById(`box-${key}`)?.focus({ preventScroll: true });
  }

  // One change of the state per frame, however many events come.
  function draw() {
    const now = drag.current;
    if (!now) return;
    now.frame = null;
    const [dx, dy] = [now.last[0] - now.point[0], now.last[1] - now.point[1]];
    const box = now.handle ? resized(now.box, now.handle, dx, dy) : moved(now.box, dx, dy);
    now.scene = withBox(state.history.present, now.key, box);
    dispatch({ type: "draft", scene: now.scene });
  }

  function move(event) {
    const now = drag.current;
    if (!now || event.pointerId !== now.pointer) return;
    now.last = pointOf(event);
    const far = Math.hypot(now.last[0] - now.point[0], now.last[1] - now.point[1]) * side;
    if (!now.moved && far < CLICK) return;
    now.moved = true;
    now.frame ??= requestAnimationFrame(draw);
  }

  function end(event) {
    const now = drag.current;
    if (!now || event.pointerId !== now.pointer) return;
    if (!objectOf(state.history.present, now.key)) {
      cancel(); // removed by a key meanwhile
      return;
    }
    if (now.moved) {
      now.last = pointOf(event);
      cancelAnimationFrame(now.frame);
      draw();
      drag.current = null;
      const name = nameOf(scene, now.key);
      const label = now.handle ? `resize ${name}` : `move ${name}`;
      session.edit(label, (present) => withBox(present, now.key, objectOf(now.scene, now.key).box));
      session.say(`${name}: ${placeInWords(objectOf(now.scene, now.key).box)}.`);
      return;
    }
    drag.current = null;
    // A second click on the same place chooses the next box below.
    if (now.again?.length > 1) {
      const next = now.again[(now.again.indexOf(now.key) + 1) % now.again.length];
      dispatch({ type: "select", key: next });
      document.getElementById(`box-${next}`)?.focus({ preventScroll: true });
    }
  }

  function cancel() {
    if (!drag.current) return false;
    cancelAnimationFrame(drag.current.frame);
    drag.current = null;
    dispatch({ type: "draft", scene: null });
    return true;
  }

  useEffect(() => {
    const escape = (event) => {
      if (event.key === "Escape" && cancel()) event.stopImmediatePropagation();
    };
    addEventListener("keydown", escape, true);
    return () => removeEventListener("keydown", escape, true);
  }, []);

  function keys(event, one) {
    const name = nameOf(scene, one.key);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (connect) session.choose(one.key);
      else {
        session.set({ tab: "patches" });
        focusOn("#inspector");
      }
      return;
    }
    const step = event.altKey ? 0.001 : 0.01;
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    const box = boxOf(one);
    if (!way || !box || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [dx, dy] = way.map((value) => value * step);
    const next = event.shiftKey ? resized(box, "se", dx, dy) : moved(box, dx, dy);
    const label = event.shiftKey ? `resize ${name}` : `move ${name}`;
    session.setBox(one.key, next, label, `${label}:${one.key}`);
  }

  const chosen = objectOf(scene, selected);
  const chosenBox = chosen ? boxOf(chosen) : null;
  const collage = scene.objects
    .map((one, position) => ({ one, box: boxes[position] }))
    .filter(({ one, box }) => box && (view.collage || (state.draft && one.key === selected)))
    .sort((one, other) => area(other.box) - area(one.box));
  const lit = (row) =>
    row.key === state.lit ||
    row.subject === selected ||
    row.object === selected ||
    scene.relations.length <= 4;
  const shownImage = state.sample?.image;
  const count = scene.objects.length;
  const choosing = state.samples?.open;
  const class_ = [
    "picture",
    state.waiting ? "waiting" : "",
    view.smooth ? "" : "pixelated",
    view.collage ? "as-collage" : "",
    connect ? "connecting" : "",
    state.draft ? "dragging" : "",
  ];
  return (
    <div class={class_.join(" ")}>
      <div class="frame" ref={frame}>
        {choosing && <SampleGrid />}
        {shownImage && !choosing && (
          <img
            class="image"
            src={pngUrl(shownImage)}
            alt={`The picture: ${scene.objects.map((one) => one.category).join(", ")}`}
            draggable={false}
          />
        )}
        {collage.length > 0 && !choosing && (
          <div class="collage" aria-hidden="true">
            {collage.map(({ one, box }) => (
              <span
                key={one.key}
                class="piece"
                style={{
                  left: `${box[0] * 100}%`,
                  top: `${box[1] * 100}%`,
                  width: `${width(box) * 100}%`,
                  height: `${height(box) * 100}%`,
                }}
              >
                <Thumb id={patchOf(one)?.id ?? one.patch} own={one.own} />
              </span>
            ))}
          </div>
        )}
        {count === 0 && <Empty />}
        {count > 0 && !choosing && (
          <svg
            ref={svg}
            class="boxes"
            viewBox={`0 0 ${side} ${side}`}
            role="group"
            aria-label={`Boxes of ${count} object${count === 1 ? "" : "s"}`}
            onPointerDown={start}
            onPointerMove={move}
            onPointerUp={end}
            onPointerCancel={cancel}
            onTouchStart={(event) => {
              // Beside touch-action, which not every browser heeds within a picture.
              if (event.target !== svg.current) event.preventDefault();
            }}
            onMouseDown={(event) => event.preventDefault()}
          >
            <defs aria-hidden="true">
              {["head", "head-wrong"].map((id) => (
                <marker
                  key={id}
                  id={id}
                  viewBox="0 0 8 8"
                  refX="7"
                  refY="4"
                  markerWidth="8"
                  markerHeight="8"
                  markerUnits="userSpaceOnUse"
                  orient="auto-start-reverse"
                >
                  <path d="M0 0 8 4 0 8z" />
                </marker>
              ))}
            </defs>
            {scene.objects.map((one, position) => {
              const box = boxes[position];
              if (!box) return null;
              const name = nameOf(scene, one.key);
              const given = one.box !== null;
              const hidden = !view.boxes && one.key !== selected && !connect;
              const place = places(box, side);
              const words = [
                name,
                `box ${placeInWords(box)}`,
                given ? "given by you" : "predicted",
                ...(one.locked ? ["locked"] : []),
                ...(one.own !== null ? ["your own picture"] : []),
                ...(marks[position].includes("warning") ? ["contradicts a relation"] : []),
              ];
              const kind = [
                "box",
                given ? "given" : "predicted",
                one.key === selected ? "chosen" : "",
                hidden ? "faint" : "",
                connect && (connect.subject === one.key || connect.object === one.key) ? "end" : "",
              ];
              return (
                <g
                  key={one.key}
                  id={`box-${one.key}`}
                  class={kind.join(" ")}
                  tabindex="0"
                  role="button"
                  aria-label={words.join(", ")}
                  aria-pressed={one.key === selected}
                  onFocus={() => {
                    if (!connect && !drag.current) dispatch({ type: "select", key: one.key });
                  }}
                  onKeyDown={(event) => keys(event, one)}
                >
                  <rect class="halo" {...place} rx="2" />
                  <rect class="edge" {...place} rx="2" data-box={one.key} />
                  {!hidden && (
                    <g class="label" data-label={one.key} aria-hidden="true">
                      {marks[position].map((mark, at) => (
                        <path
                          key={mark}
                          class={`mark-${mark}`}
                          d={PATHS[mark]}
                          transform={`translate(${labels[position].x + at * MARK - 2} ${labels[position].y - 12}) scale(.9)`}
                        />
                      ))}
                      <text
                        x={labels[position].x + marks[position].length * MARK}
                        y={labels[position].y}
                      >
                        {name}
                      </text>
                    </g>
                  )}
                </g>
              );
            })}
            {view.arrows && (
              <g class="arrows" aria-hidden="true">
                {scene.relations.map((row) => {
                  const ends = [row.subject, row.object].map((key) =>
                    boxOf(objectOf(scene, key)),
                  );
                  if (ends.includes(null)) return null;
                  return (
                    <Arrow
                      key={row.key}
                      row={row}
                      boxes={ends}
                      side={side}
                      lit={lit(row)}
                      wrong={wrong[row.key]}
                    />
                  );
                })}
              </g>
            )}
            {chosenBox && !connect && (
              <g class="handles" aria-hidden="true">
                <rect class="outline" {...places(chosenBox, side)} rx="2" />
                {[...EDGES, ...CORNERS].map((handle) => {
                  const [x, y] = handlePlace(handle, chosenBox).map((value) => value * side);
                  return (
                    <g key={handle} class={`handle ${handle.length === 1 ? "of-edge" : "of-corner"}`}>
                      <circle class={`grip at-${handle}`} data-handle={handle} cx={x} cy={y} />
                      <rect class="dot" x={x - 4.5} y={y - 4.5} width="9" height="9" rx="2" />
                    </g>
                  );
                })}
              </g>
            )}
          </svg>
        )}
      </div>
    </div>
  );
}
