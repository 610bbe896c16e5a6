// Files that the user opens or drops.
import { isPng, textOf } from "./png.js";

const MOST_BYTES = 8 * 2 ** 20;

function parsed(text, name) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name}: this is not a JSON file.`);
  }
}

/**
 * Opens a scene; gives a picture without one to an object.
 *
 * @param key of the object on which a picture was dropped, or null: then the chosen one's.
 */
export async function readDocument(file, { session, store, key = null }) {
  try {
    if (file.size > MOST_BYTES) throw new Error(`${file.name}: larger than 8 MiB.`);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const text = isPng(bytes) ? textOf(bytes) : null;
    if (text !== null) {
      await session.take(parsed(text, file.name), { label: file.name, ask: true });
      return;
    }
    if (file.type.startsWith("image/") || isPng(bytes)) {
      const target = key ?? store.get().selected;
      if (target === null) {
        throw new Error(`${file.name}: it has no scene in it. Drop it on a box to use it as a patch.`);
      }
      await session.giveOwn(target, file);
      return;
    }
    const content = new TextDecoder().decode(bytes);
    await session.take(parsed(content, file.name), { label: file.name, ask: true });
  } catch (error) {
    session.tell(error);
  }
}
