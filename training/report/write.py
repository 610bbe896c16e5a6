"""Reports from Python: `write_report` is what `rgan report` calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rgan_tf import released
from rgan_tf.arguments import path_text
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.runs import Run, open_run, run_name
from rgan_tf.storage.files import write_bytes_atomic
from training.report.notes import Notes
from training.report.page import build_page, require_own


def write_report(
    run: Run | str | Path,
    out: str | Path | None = None,
    *,
    data: PreparedData | str | Path | None = None,
    metrics: str | Path | None = None,
) -> dict[str, Any]:
    """Writes a run as one self-contained HTML file.

    Args:
      run: run folder, `released:NAME`, or the `run` that `train` returns.
      out: HTML file to write; None: `report.html` in the run folder. Replaces an earlier report.
      data: prepared folder, or an opened one; None takes that of the run.
      metrics: folder that `evaluate(..., out=...)` wrote to; None: the run folder.

    Returns:
      `run`, `report`, its size in `bytes`, what it shows, and `notes` on what is missing.

    Raises:
      BadInput: if there is no such run or folder, or the file exists and is no report.

    Example:
      ```python
      import rgan_tf

      written = rgan_tf.write_report("released:procedural_64", "report.html")
      print(written["stages"], written["notes"])
      ```
    """
    name = run_name(run, "RUN")  # no option names it
    is_released = name.startswith(released.PREFIX)
    opened = open_run(name, "RUN")
    if is_released and not out:
        raise BadInput(f"{name}: ships with the project; name a file with --out")
    place = Path(path_text(out, "--out")) if out else opened.folder / "report.html"
    require_own(place)
    measured = Path(path_text(metrics, "--metrics")) if metrics else opened.folder
    if not measured.is_dir():
        raise BadInput(f"--metrics {measured}: no such folder; name the --out of rgan eval")
    if metrics and not (measured / "metrics.jsonl").is_file():
        raise BadInput(f"--metrics {measured}: has no metrics.jsonl; name the --out of rgan eval")
    notes = Notes()
    page, content = build_page(
        opened,
        name if is_released else str(opened.folder.resolve()),
        data=Path(path_text(data, "--data")) if data else opened.data,
        metrics=measured,
        notes=notes,
    )
    write_bytes_atomic(place, page)
    return {
        "run": name,
        "report": str(place),
        "bytes": len(page),
        **content,
        "notes": notes.lines,
    }
