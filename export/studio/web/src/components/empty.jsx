import { useStudio } from "../context.js";

/** What an empty scene shows: three examples to begin with. */
export function Empty() {
  const { model, session } = useStudio();
  const examples = model.examples ?? [];
  return (
    <div class="empty">
      <p class="empty-title">What shall the picture hold?</p>
      <p class="hint">
        Add objects from the list{examples.length > 0 ? ", or begin with an example" : ""}.
      </p>
      <div class="examples">
        {examples.slice(0, 3).map((one) => (
          <button
            type="button"
            class="example"
            key={one.title}
            onClick={() => session.example(one)}
          >
            <strong>{one.title}</strong>
            <span>{one.graph.objects.join(", ")}</span>
          </button>
        ))}
      </div>
    </div>
  );
}
