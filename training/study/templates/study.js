"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const pairs = data.pairs;
  const kind = data.shows === "pictures" ? "picture" : "set";
  const store = "patch-study-" + data.page;
  // A second click of a double click must not answer the next pair.
  const REST_MS = 250;

  const $ = (id) => document.getElementById(id);
  // The introduction stands before the first pair, the end behind the last.
  const INTRO = -1;
  const fresh = () => ({ participant: "", place: INTRO, answers: {} });
  let state = fresh();
  let isKept = true;
  let shownAt = 0;
  let link = null;

  function load() {
    try {
      const kept = JSON.parse(localStorage.getItem(store));
      if (kept && typeof kept.participant === "string" && Number.isInteger(kept.place)) {
        state = { ...fresh(), ...kept };
      }
    } catch (error) {
      state = fresh();
    }
  }

  function save() {
    try {
      localStorage.setItem(store, JSON.stringify(state));
      isKept = true;
    } catch (error) {
      isKept = false;
    }
    $("warning").hidden = isKept;
    $("warning").textContent = isKept
      ? ""
      : "This browser keeps nothing: do not close or reload the page before you have your file.";
  }

  function answered() {
    return pairs.filter((pair) => pair.id in state.answers).length;
  }

  function show() {
    const isIntro = state.place === INTRO;
    const isDone = state.place === pairs.length;
    $("intro").hidden = !isIntro;
    $("question").hidden = isIntro || isDone;
    $("done").hidden = !isDone;
    if (isIntro) {
      $("participant").value = state.participant;
    } else if (isDone) {
      showDone();
    } else {
      showPair(pairs[state.place]);
    }
    window.scrollTo(0, 0);
  }

  function showPair(pair) {
    const left = pairs.length - answered();
    $("bar").max = pairs.length;
    $("bar").value = answered();
    $("left-over").textContent = `Pair ${state.place + 1} of ${pairs.length}, ${left} left`;
    $("objects").textContent = pair.objects.join(", ");
    $("relationships").replaceChildren(
      ...pair.relationships.map((text) => element("li", "", text)),
    );
    const choice = state.answers[pair.id]?.choice;
    for (const side of ["left", "right"]) {
      showSet(side, pair);
      $(side).setAttribute("aria-pressed", String(choice === side));
    }
    $("who").textContent = state.participant;
    $("forward").disabled = choice === undefined;
    $("ask").focus({ preventScroll: true });
    shownAt = performance.now();
  }

  function showSet(side, pair) {
    const patches = pair[side].map((image, index) => {
      const patch = element("span", "patch", "");
      const picture = document.createElement("img");
      picture.src = data.images[image];
      picture.alt = "";
      picture.draggable = false;
      patch.append(picture, element("span", "", pair.labels[index] ?? ""));
      return patch;
    });
    const key = element("span", "key", side === "left" ? `← Left ${kind}` : `Right ${kind} →`);
    $(side).replaceChildren(key, ...patches);
    $(side).setAttribute("aria-label", `Choose the ${side} ${kind}${pair.labels.length ? `: ${pair.labels.join(", ")}` : ""}`);
  }

  function showDone() {
    const text = JSON.stringify(
      {
        version: 1,
        page: data.page,
        participant: state.participant,
        answers: pairs.map((pair) => ({ pair: pair.id, ...state.answers[pair.id] })),
      },
      null,
      1,
    );
    const name = state.participant.replace(/[^\p{L}\p{N}_-]+/gu, "_");
    if (link !== null) {
      URL.revokeObjectURL(link);
    }
    link = URL.createObjectURL(new Blob([text + "\n"], { type: "application/json" }));
    $("download").href = link;
    $("download").download = `answers-${name}.json`;
    $("file-name").textContent = `answers-${name}.json`;
    $("text").value = text;
    $("thanks").focus({ preventScroll: true });
  }

  function choose(choice) {
    const milliseconds = Math.round(performance.now() - shownAt);
    if (milliseconds < REST_MS) {
      return;
    }
    state.answers[pairs[state.place].id] = { choice, milliseconds };
    go(state.place + 1);
  }

  function go(place) {
    // Nothing is skipped: the first pair without an answer is the furthest place.
    const missing = pairs.findIndex((pair) => !(pair.id in state.answers));
    state.place = Math.min(Math.max(place, INTRO), missing < 0 ? pairs.length : missing);
    save();
    show();
  }

  function element(name, kind, text) {
    const made = document.createElement(name);
    made.className = kind;
    made.textContent = text;
    return made;
  }

  $("start").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = $("participant").value.trim().replace(/\s+/g, " ");
    if (name === "") {
      $("participant").value = "";
      $("participant").reportValidity();
      return;
    }
    state.participant = name;
    go(0);
  });
  $("left").addEventListener("click", () => choose("left"));
  $("right").addEventListener("click", () => choose("right"));
  $("back").addEventListener("click", () => go(state.place - 1));
  $("forward").addEventListener("click", () => go(state.place + 1));
  $("revise").addEventListener("click", () => go(pairs.length - 1));
  $("restart").addEventListener("click", () => {
    if (window.confirm("Delete these answers from this browser? Download them first.")) {
      state = fresh();
      go(INTRO);
    }
  });
  document.addEventListener("keydown", (event) => {
    const isOurs = !$("question").hidden && !event.repeat;
    if (!isOurs || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      choose(event.key === "ArrowLeft" ? "left" : "right");
    } else if (event.key === "Backspace") {
      event.preventDefault();
      go(state.place - 1);
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isKept && answered() > 0) {
      event.preventDefault();
    }
  });

  // Another tab went on: what this one kept of before must not take the place of its answers.
  window.addEventListener("storage", (event) => {
    if (event.key === store && event.newValue !== null) {
      load();
      show();
    }
  });

  $("total").textContent = String(pairs.length);
  load();
  go(state.place);
})();
