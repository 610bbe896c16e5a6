"""Watches for skipped steps and for collapsed adversarial training."""

from __future__ import annotations

from typing import Any

from rgan_tf.model.guarded_model import SOUND_SHARE, GuardedModel
from rgan_tf.progress import note
from training.callbacks.stage import StageCallback, refuse_non_finite
from training.rollbacks import SKIPPED_IN_ROW, RollbackNeeded

_INTERVALS = 5  # consecutive logging intervals before a warning

# By form of the adversarial loss: the loss of a discriminator that outputs 0 for everything, so
# distinguishes nothing.
_BLIND = {"hinge": 2.0, "non_saturating": 1.3863}
_BLIND_WITHIN = 0.005
_OVERWHELMING = 0.02
_BOXES_ASTRAY = -0.1  # mean generalised IoU; below 0 a box lies beside the true one


class SkippedStepsWatch(StageCallback):
    """Raises `RollbackNeeded` if too many steps in a row were skipped, or the very last one was.

    A stage must not end on skipped steps, because no loss would vouch for its weights.
    """

    def __init__(self, first_step: int, total_steps: int, *, watched: GuardedModel):
        super().__init__(first_step, total_steps)
        self._watched = watched

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        guard = self._watched.guard
        in_row = int(guard.skipped_in_row.numpy())
        if in_row >= SKIPPED_IN_ROW or (in_row and self.step == self.total_steps):
            skipped = sorted(guard.recent.numpy().tolist())[-in_row:]
            raise RollbackNeeded(
                self.step, [step for step in skipped if step >= 0], self._watched.not_finite()
            )


class FiniteWatch(StageCallback):
    """Stops this process when the one that writes the logs stops, so that none has to wait."""

    def on_epoch_end(self, epoch, logs=None):
        refuse_non_finite(self.step, logs)


class CollapseWatch(StageCallback):
    """Warns if training continues without learning anything.

    * A discriminator is blind: it has the loss of one that outputs 0 for everything.
    * A discriminator is overwhelming: it hardly has any loss, so the generator learns nothing.
    * Predicted boxes are astray: most lie beside the true ones.

    Intervals with only skipped steps are ignored.

    It warns once if a condition has lasted for five logging intervals, and again only after it had
    ended. A warning is a line on stderr and an entry of `warnings`, stored in the stage's record.

    Args:
      first_step, total_steps: see `StageCallback`.
      adversarial: form of the adversarial loss.
      patience_steps: no warning before this step: all three are normal at the beginning.
      warnings: earlier ones (before a restart or rollback); new ones are appended.
    """

    def __init__(
        self,
        first_step: int,
        total_steps: int,
        *,
        adversarial: str,
        patience_steps: int = 500,
        warnings: list[dict[str, Any]] | None = None,
    ):
        super().__init__(first_step, total_steps)
        self._blind = _BLIND[adversarial]
        self._patience_steps = patience_steps
        self._lasted: dict[str, int] = {}
        self.warnings: list[dict[str, Any]] = [] if warnings is None else warnings

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if not logs.get(SOUND_SHARE, 1.0):
            return
        for part in ("image", "object"):
            loss = logs.get(f"loss/discriminator/adversarial_{part}")
            if loss is None:
                continue
            is_blind = abs(loss - self._blind) < _BLIND_WITHIN * self._blind
            self._observe(f"the {part} discriminator tells nothing apart", is_blind)
            self._observe(f"the {part} discriminator is never wrong", loss < _OVERWHELMING)
        overlap = logs.get("layout/generalised_iou")
        if overlap is not None:
            self._observe("predicted boxes lie beside the true ones", overlap < _BOXES_ASTRAY)

    def _observe(self, what: str, holds: bool) -> None:
        lasted = self._lasted.get(what, 0) + 1 if holds and self.step > self._patience_steps else 0
        self._lasted[what] = lasted
        if lasted == _INTERVALS:
            self.warnings.append({"step": self.step, "what": what})
            note(f"step {self.step}: {what}; see docs/training.md")
