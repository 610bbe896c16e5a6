import { render } from "preact";
import { createApi } from "./api.js";
import { createAutosave } from "./autosave.js";
import { App } from "./components/app.jsx";
import { Studio } from "./context.js";
import { decodeLink, readFragment } from "./link.js";
import { createSession } from "./session.js";
import { createStore } from "./state.js";

try {
  const theme = localStorage.getItem("rgan_studio_theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // the system's colours
}

const token = readFragment(location.hash).get("token");
const store = createStore();
const session = createSession({ api: createApi({ token }), store });
// Asked for at each use: where site data is blocked, even naming it fails.
const storage = {
  getItem: (key) => localStorage.getItem(key),
  setItem: (key, value) => localStorage.setItem(key, value),
};
const turn = createAutosave({ store, storage });

/** Opens the scene of a link, and takes it out of the address. */
async function openLink() {
  const text = readFragment(location.hash).get("g");
  if (text === null || !store.get().model) return;
  history.replaceState(null, "", token ? `#token=${encodeURIComponent(token)}` : location.pathname);
  try {
    await session.take(await decodeLink(text), { label: "the scene of the link", ask: true });
  } catch {
    session.tell(new Error("The link is damaged or cut: it holds no scene."));
  }
}

addEventListener("hashchange", openLink);
render(
  <Studio.Provider value={{ store, session }}>
    <App turn={turn} />
  </Studio.Provider>,
  document.getElementById("studio"),
);
session.start().then(openLink);
