"""Watches for skipped steps, and for adversarial training that has collapsed."""

from __future__ import annotations

import sys
from typing import Any

from rgan_tf.model.guarded_model import SOUND_SHARE, GuardedModel
from training.callbacks.stage import StageCallback, refuse_non_finite
from training.rollbacks import SKIPPED_IN_ROW, Trouble

_INTERVALS = 5  # so many in a row make a warning

# By form of the adversarial loss: what a discriminator costs that tells nothing apart, which is
# one that says 0 to everything.
_BLIND = {"hinge": 2.0, "non_saturating": 1.3863}
_BLIND_WITHIN = 0.005
_OVERWHELMING = 0.02
_BOXES_ASTRAY = -0.1  # mean generalised IoU; below 0 a box lies beside the true one


class TroubleWatch(StageCallback):
    """Raises `Trouble` once too many steps in a row were skipped, or the very last one was.

    A stage does not end on skipped steps: what it leaves would be weights that no loss vouches for.
    """

    def __init__(self, first_step: int, total_steps: int, *, watched: GuardedModel):
        super().__init__(first_step, total_steps)
        self._guard = watched.guard

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        in_row = int(self._guard.skipped_in_row.numpy())
        if in_row >= SKIPPED_IN_ROW or (in_row and self.step == self.total_steps):
            skipped = sorted(self._guard.recent.numpy().tolist())[-in_row:]
            raise Trouble(self.step, [step for step in skipped if step >= 0])


class FiniteWatch(StageCallback):
    """Stops this process where the one that writes the logs stops, so that none has to wait."""

    def on_epoch_end(self, epoch, logs=None):
        refuse_non_finite(self.step, logs)


class CollapseWatch(StageCallback):
    """Warns where training continues without learning anything.

    * A discriminator is blind: its loss is that of saying 0 to everything.
    * A discriminator is overwhelming: it hardly costs anything, so the generator learns nothing.
    * Predicted boxes are astray: most lie beside the true ones.

    Intervals in which every step was skipped say nothing.

    It warns once something has lasted five logging intervals, and again only after it had ceased.
    A warning is a line on stderr and an entry of `warnings`, which end up in the stage's record.

    Args:
      first_step, total_steps: as for `StageCallback`.
      adversarial: form of the adversarial loss.
      patience_steps: no warning comes before: all three are normal at the beginning.
      warnings: of an earlier process or before a rollback; new ones are added.
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
            self._note(f"the {part} discriminator tells nothing apart", is_blind)
            self._note(f"the {part} discriminator is never wrong", loss < _OVERWHELMING)
        overlap = logs.get("layout/generalised_iou")
        if overlap is not None:
            self._note("predicted boxes lie beside the true ones", overlap < _BOXES_ASTRAY)

    def _note(self, what: str, holds: bool) -> None:
        lasted = self._lasted.get(what, 0) + 1 if holds and self.step > self._patience_steps else 0
        self._lasted[what] = lasted
        if lasted == _INTERVALS:
            self.warnings.append({"step": self.step, "what": what})
            print(f"step {self.step}: {what}; see docs/training.md", file=sys.stderr, flush=True)
