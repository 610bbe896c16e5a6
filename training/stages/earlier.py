"""The weights of the first two stages, on which a third one builds."""

from __future__ import annotations

from rgan_tf.errors import BadInput
from rgan_tf.runs import STAGES, Run


def earlier_weights(run: Run) -> dict[str, str]:
    """sha256 of the weights of stages 1 and 2, for the record of the third: `NAME_weights`."""
    records = {stage: run.stage_record(stage) for stage in STAGES[:2]}
    return {f"{stage}_weights": record["weights_sha256"] for stage, record in records.items()}


def check_earlier_weights(run: Run) -> None:
    """Refuses to go on with a third stage that began with other weights of the first two.

    Raises:
      BadInput: if one of them was trained further since.
    """
    record = run.stage_record(STAGES[-1])
    for key, value in earlier_weights(run).items():
        if record.get(key, value) != value:
            raise BadInput(
                f"--run {run.folder}: {key.split('_')[0]} was trained further since "
                f"{STAGES[-1]} began; remove {run.stage_folder(STAGES[-1])} to train it again, "
                "or name another run"
            )
