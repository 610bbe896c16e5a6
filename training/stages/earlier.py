"""The weights of earlier stages, on which a later one builds."""

from __future__ import annotations

from rgan_tf.errors import BadInput
from rgan_tf.runs import STAGES, Run, stages_of


def earlier_weights(run: Run, stage: str = STAGES[-1]) -> dict[str, str]:
    """sha256 of the weights of the stages before one, for its record: `NAME_weights`."""
    names = list(stages_of(run.config))
    records = {name: run.stage_record(name) for name in names[: names.index(stage)]}
    return {
        f"{name}_weights": record["weights_sha256"] for name, record in records.items() if record
    }


def check_earlier_weights(run: Run, stage: str = STAGES[-1]) -> None:
    """Refuses to go on with a stage that began with other weights of those before it.

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
