"""What earlier comparisons left in the folder of runs: whether it fits the rows of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.errors import BadInput
from rgan_tf.idle_settings import OF_JOINT_STAGE
from rgan_tf.runs import DAMSM, EMBEDDING, STAGES, Run, open_run, stages_of
from rgan_tf.runs.settings import difference
from rgan_tf.storage.files import read_json, write_json_atomic
from training.compare.entries import Entry
from training.configuration import named_config

_INSTEAD = "name another --out, or remove it to train it again"


def run_there(folder: Path) -> Run | None:
    """A run of this comparison; None if there is none, or training was killed making it."""
    return open_run(str(folder)) if (folder / "run.json").exists() else None


def check_runs(
    entries: Sequence[Entry], overrides: Sequence[str], runs: Path, *, also: tuple[str, ...] = ()
) -> None:
    """Refuses what the rows could not be trained on, before hours are spent on those before it.

    Args:
      entries: the rows.
      overrides: of every config.
      runs: folder of the runs, which need not exist.
      also: prefixes of settings of the rows that are not known yet.

    Raises:
      BadInput: names the first run that is of other settings or has more steps, or whose first
        stages are of other settings or other weights than those of its base.
    """
    for entry in entries:
        run = run_there(runs / entry.run)
        if run:
            wanted = named_config(entry.config, [*overrides, *entry.settings])
            _refuse(run, difference(run.config, wanted, also=also))
            check_steps(run, stages_of(wanted))
        if entry.base and (base := run_there(runs / entry.base)):
            check_first_stages(base, named_config(entry.config, overrides))
            check_steps(base, dict(zip(STAGES, entry.first_steps, strict=False)), only=STAGES[:2])
            # Stages that are begun again will be the same once they have all their steps.
            if run and _first_steps(run) == _first_steps(base):
                check_same_first_stages(run, base)


def check_steps(
    run: Run,
    wanted: Mapping[str, int],
    *,
    only: Sequence[str] = (*STAGES, DAMSM, EMBEDDING),
    is_trained: bool = False,
) -> None:
    """Refuses a run that has more steps of a stage than its row: `rgan train` would leave it so.

    Args:
      run: of a row, or the base of one.
      wanted: stage -> steps; a stage that is not named has none.
      only: the stages to look at.
      is_trained: whether training has ended, so that the joint steps are all there.

    Raises:
      BadInput: names the run and the stage.
    """
    for stage in only:
        found, asked = run.stage_record(stage).get("steps", 0), wanted.get(stage, 0)
        if found > asked or (is_trained and stage == STAGES[-1] and found != asked):
            steps = "joint steps" if stage == STAGES[-1] else f"steps of {stage}"
            raise BadInput(
                f"{run.folder}: was trained for {found} {steps}, {asked} are asked for; {_INSTEAD}"
            )


def other_first_stage(run: Run, base: Run) -> str | None:
    """The first shared stage of which a run has other weights than its base."""
    for stage in STAGES[:2]:
        own, theirs = (each.stage_record(stage).get("weights_sha256") for each in (run, base))
        if own != theirs:
            return stage
    return None


def check_same_first_stages(run: Run, base: Run) -> None:
    """Refuses a run that has other first stages than its base.

    Raises:
      BadInput: names both runs and the stage.
    """
    if stage := other_first_stage(run, base):
        raise BadInput(
            f"{run.folder}: has another stage {stage} than {base.folder}; remove it to train it "
            "again with that stage"
        )


def check_first_stages(base: Run, wanted: Config) -> None:
    """Checks that shared stages are those of the config that is compared now.

    Runs that search learning rates take them as they are, so nobody else would notice.

    Raises:
      BadInput: if an earlier comparison trained them with other settings.
    """
    _refuse(base, difference(base.config, wanted, also=OF_JOINT_STAGE))


def diverged_before(folder: Path, config: Config) -> bool:
    """Whether a try of learning rates diverged with these settings.

    All of them: the file of the config may have been edited since.
    """
    path = _diverged(folder)
    return path.exists() and read_json(path) == flat_settings(config)


def keep_diverged(folder: Path, config: Config) -> None:
    """Writes down that a try diverged, beside its run."""
    write_json_atomic(_diverged(folder), flat_settings(config))


def _first_steps(run: Run) -> list[int | None]:
    return [run.stage_record(stage).get("steps") for stage in STAGES[:2]]


def _diverged(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.diverged.json")


def _refuse(run: Run, changed: str) -> None:
    if changed:
        raise BadInput(f"{run.folder}: was started with {changed}; {_INSTEAD}")
