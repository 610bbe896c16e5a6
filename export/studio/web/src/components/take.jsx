import { useState } from "preact/hooks";
import { useStudio } from "../context.js";
import { download, pictureFile } from "../files.js";
import { Button, Select } from "./parts.jsx";

const SIZES = [1, 4, 8, 16];

/** Taking the picture along: copy, download, ZIP with credits. */
export function Take() {
  const { state, scene, model, session } = useStudio();
  const [times, setTimes] = useState(8);
  const [withScene, setWithScene] = useState(false);
  const [busy, setBusy] = useState(false);
  const image = state.sample?.image ?? null;
  const none = image === null || scene.objects.length === 0;
  const { smooth } = state.view;

  async function picture() {
    await session.shown();
    const text = withScene ? JSON.stringify(session.project()) : null;
    return pictureFile(session.image(), { times, smooth, text });
  }

  async function copy() {
    try {
      if (!navigator.clipboard?.write || typeof ClipboardItem === "undefined") {
        throw new Error("this browser copies no pictures from this page");
      }
      // A promise inside: some browsers allow it only in the click itself.
      const item = new ClipboardItem({ "image/png": picture() });
      await navigator.clipboard.write([item]);
      session.say("The picture is copied.");
    } catch (error) {
      session.tell(new Error(`The picture could not be copied: ${error.message}. Download it.`));
    }
  }

  async function save() {
    try {
      download(await picture(), `studio-seed-${scene.draw.seed}.png`);
      session.say("The picture is downloaded.");
    } catch (error) {
      session.tell(error);
    }
  }

  async function zip() {
    setBusy(true);
    try {
      download(await session.archive(), `studio-seed-${scene.draw.seed}.zip`);
      session.say("The ZIP with picture, graph and credits is downloaded.");
    } catch (error) {
      session.tell(error);
    }
    setBusy(false);
  }

  return (
    <section class="take" aria-label="Take the picture along">
      <div class="draw-row">
        <Button icon="download" text="Download" name="Download the picture" disabled={none} onClick={save} />
        <Button icon="copy" text="Copy" name="Copy the picture" disabled={none} onClick={copy} />
        <Button
          icon="download"
          text={busy ? "Packing …" : "ZIP with credits"}
          name="Picture, graph, provenance and credits in one file"
          disabled={none || busy}
          onClick={zip}
        />
      </div>
      <details class="more">
        <summary>
          Size <span class="quiet">{`${model.image * times} px, ${smooth ? "smooth" : "pixelated"}`}{withScene && ", with the scene"}</span>
        </summary>
        <div class="draw-more">
          <label class="inline">
            Size
            <Select
              label="Size of the picture"
              value={times}
              options={SIZES.map((one) => ({
                value: one,
                label: `${one} × = ${model.image * one} px`,
              }))}
              onValue={(value) => setTimes(Number(value))}
            />
          </label>
          <label class="check">
            <input
              type="checkbox"
              checked={withScene}
              onChange={(event) => setWithScene(event.currentTarget.checked)}
            />
            <span>
              Put the scene into the PNG{" "}
              <span class="quiet">so that the studio can open it; own pictures go along</span>
            </span>
          </label>
        </div>
      </details>
    </section>
  );
}
