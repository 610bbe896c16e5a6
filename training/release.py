"""Makes a released run from a finished one: config, vocabulary and inference weights only.

    python -m training.release RUN NAME

writes `rgan_tf/released/NAME`, which `released:NAME` then names wherever a run is expected. The
folders of the data and of a run whose stages were taken over are left out: they are of one machine.
"""

from __future__ import annotations

import re
import shutil
import sys
import zlib
from pathlib import Path

from rgan_tf import released
from rgan_tf.errors import BadInput, RganError
from rgan_tf.progress import note
from rgan_tf.runs import STAGES, open_run
from rgan_tf.storage.files import atomic_folder, read_json, write_json_atomic

MAX_MEGABYTES = 20  # of weights, as packed in the wheel that users download
_TAKEN = ("taken_from", "as_they_are")  # of a stage that came from another run
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a folder beside the others, never of theirs
CARD = "CARD.md"  # of a release: what it was trained on, and whose terms hold


def release(run_folder: str, name: str) -> Path:
    """Copies what inference needs.

    Args:
      run_folder: a run with all stages.
      name: of the release.

    Returns:
      The new folder.

    Raises:
      BadInput: if a stage is missing, the weights are too large for a release, or the name does
        not suit.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r}: name a release by letters, digits, _, - and points")
    run = open_run(run_folder)
    weights = {}
    for stage in STAGES:
        record = run.stage_record(stage)
        if "weights" not in record:
            raise BadInput(
                f"run {run_folder}: stage {stage} has no weights; resume it with `rgan train`"
            )
        weights[stage] = sorted(run.stage_folder(stage).glob(f"{record['weights']}.*"))
    files = [path for paths in weights.values() for path in paths]
    megabytes = sum(len(zlib.compress(path.read_bytes())) for path in files) / 1e6
    if megabytes > MAX_MEGABYTES:
        raise BadInput(
            f"run {run_folder}: {megabytes:.1f} MB of packed weights, a release holds "
            f"{MAX_MEGABYTES} MB; train a smaller model"
        )
    out = released.FOLDER / name
    new = out.with_name(f"{name}.new")
    with atomic_folder(new) as folder:
        shutil.copy(run.folder / "config.yaml", folder)
        shutil.copy(run.folder / "vocabulary.json", folder)
        write_json_atomic(folder / "run.json", read_json(run.folder / "run.json") | {"data": ""})
        for stage, paths in weights.items():
            (folder / stage).mkdir()
            record = run.stage_record(stage)
            record = {key: value for key, value in record.items() if key not in _TAKEN}
            write_json_atomic(folder / stage / "stage.json", record)
            for path in paths:
                shutil.copy(path, folder / stage)
        if (out / CARD).exists():  # written by hand
            shutil.copy(out / CARD, folder)
    if out.exists():  # only after the new one is complete
        shutil.rmtree(out)
    new.rename(out)
    return out


if __name__ == "__main__":
    if len(sys.argv) != 3:
        note("usage: python -m training.release RUN NAME")
        sys.exit(2)
    try:
        note(release(sys.argv[1], sys.argv[2]))
    except RganError as error:
        note(f"release: {error}")
        sys.exit(error.exit_code)
