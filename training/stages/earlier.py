"""The weights of earlier stages, on which a later one builds."""

from __future__ import annotations

from rgan_tf.errors import BadInput
from rgan_tf.runs import EMBEDDING, STAGES, Run, stages_of

_KEYS = tuple(f"{name}_weights" for name in (*STAGES[:2], EMBEDDING))  # of records


def earlier_weights(run: Run, stage: str = STAGES[-1]) -> dict[str, str]:
    """sha256 of the weights of the stages before one, for its record: `NAME_weights`.

    What the stage began with stays in its record, also when the config no longer has that stage.
    """
    begun_with = run.stage_record(stage)
    weights = {key: begun_with[key] for key in _KEYS if key in begun_with}
    names = list(stages_of(run.config))
    for name in names[: names.index(stage)]:
        record = run.stage_record(name)
        if record:
            weights[f"{name}_weights"] = record["weights_sha256"]
    return weights


def check_comes_first(run: Run) -> None:
    """Refuses φ's own stage where the joint one has begun without it: nothing would read it.

    Raises:
      BadInput: then.
    """
    last, stage = STAGES[-1], run.stage_folder(STAGES[-1])
    record = run.stage_record(last)
    if record:
        is_late = f"{EMBEDDING}_weights" not in record
    else:  # it may have checkpoints before its first record
        is_late = not run.stage_record(EMBEDDING) and any(stage.glob("checkpoints/step-*"))
    if is_late:
        raise BadInput(
            f"--run {run.folder}: {last} began without the stage {EMBEDDING}; set "
            f"retrieval.embedding_steps to 0 to resume it, remove {stage} to train it again, "
            "or name another run"
        )


def check_earlier_weights(run: Run, stage: str = STAGES[-1]) -> None:
    """Refuses to resume a stage that began with other weights of those before it.

    Raises:
      BadInput: if one of them was trained further since.
    """
    record = run.stage_record(stage)
    for key, value in earlier_weights(run, stage).items():
        if record.get(key, value) != value:
            raise BadInput(
                f"--run {run.folder}: {key.split('_')[0]} was trained further since "
                f"{stage} began; remove {run.stage_folder(stage)} to train it again, "
                "or name another run"
            )
