import { useStudio } from "../context.js";
import { codeOf, hints, safeUrl, strictestFirst } from "../licences.js";
import { nameOf } from "../scene.js";
import { Thumb } from "./parts.jsx";

/** An address: a link if the browser may follow it, else text. */
export function Address({ text }) {
  const url = safeUrl(text);
  if (url === null) return <span class="address">{text}</span>;
  return (
    <a class="address" href={url} target="_blank" rel="noopener noreferrer" referrerpolicy="no-referrer">
      {text}
    </a>
  );
}

/** Where a patch comes from. All of it is text of the bank's makers: shown as text only. */
export function Source({ patch }) {
  const region = (patch.box ?? []).map((edge) => Math.round(edge * 100)).join(", ");
  return (
    <dl class="source">
      <dt>Licence</dt>
      <dd>
        {codeOf(patch)}
        {patch.licence && patch.licence !== codeOf(patch) && (
          <span class="quiet"> {patch.licence}</span>
        )}
      </dd>
      {patch.url && (
        <>
          <dt>Address</dt>
          <dd>
            <Address text={patch.url} />
          </dd>
        </>
      )}
      <dt>Image</dt>
      <dd>
        {patch.image_id} <span class="quiet">{patch.source}</span>
      </dd>
      {region && (
        <>
          <dt>Region</dt>
          <dd>{region} %</dd>
        </>
      )}
    </dl>
  );
}

/** Sources and licences of the whole picture. */
export function Credits() {
  const { scene, patchOf } = useStudio();
  const parts = scene.objects.map((one) => ({ one, patch: patchOf(one) }));
  const codes = strictestFirst(parts.filter(({ patch }) => patch).map(({ patch }) => codeOf(patch)));
  const own = scene.objects.some((one) => one.own !== null);
  return (
    <section class="panel credits" aria-labelledby="credits-title">
      <h2 id="credits-title">Sources and licences</h2>
      {!scene.objects.length && <p class="hint">They follow the picture.</p>}
      {codes.length > 0 && (
        <p class="codes">
          {codes.map((code) => (
            <span class="tag" key={code}>
              {code}
            </span>
          ))}
          {own && <span class="tag">your own</span>}
        </p>
      )}
      {hints(codes).map((text) => (
        <p class="hint" key={text}>
          {text}
        </p>
      ))}
      {own && <p class="hint">For your own pictures you answer yourself.</p>}
      <ul class="sources">
        {parts.map(({ one, patch }) => (
          <li key={one.key}>
            <details>
              <summary>
                <Thumb id={patch?.id ?? one.patch} own={one.own} />
                <span>{nameOf(scene, one.key)}</span>
                <span class="quiet">
                  {one.own !== null ? "your own" : patch ? codeOf(patch) : "no patch yet"}
                </span>
              </summary>
              {patch ? <Source patch={patch} /> : <p class="hint">Nothing is recorded.</p>}
            </details>
          </li>
        ))}
      </ul>
    </section>
  );
}
