"""Records a stage's rollbacks on disk and decides when to give up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput, CorruptData, Diverged
from rgan_tf.storage.files import read_json, write_json_atomic

SKIPPED_IN_ROW = 10
"""This many skipped steps in a row cause a rollback to the last checkpoint."""

MOST = 3
"""Training ends after this many rollbacks in one process."""


class RollbackNeeded(Exception):
    """The latest steps were skipped; training must roll back.

    Attributes:
      step: steps done.
      skipped_steps: numbers of the latest steps that were skipped.
      not_finite: names of what was not finite in the last of them.
    """

    def __init__(self, step: int, skipped_steps: list[int], not_finite: Sequence[str] = ()):
        super().__init__(f"step {step}: the latest {len(skipped_steps)} were skipped")
        self.step = step
        self.skipped_steps = skipped_steps
        self.not_finite = not_finite


class Rollbacks:
    """The record RUN/<stage>/rollbacks.json.

    Its length is the `rollback_count` of the model, so a killed and resumed run draws the same
    random numbers.

    Args:
      path: of the file; may be missing.
      writes: False for processes that leave writing to another one.

    Raises:
      CorruptData: if the file is damaged.
    """

    def __init__(self, path: Path, *, writes: bool = True):
        self.path = path
        self._writes = writes
        self._in_process = 0
        self._entries: list[dict[str, Any]] = []
        if path.exists():
            try:
                content = read_json(path)
            except BadInput as error:
                raise CorruptData(f"{path}: damaged; restore it") from error
            if not isinstance(content, list) or not all(
                isinstance(entry, dict) and "at_step" in entry for entry in content
            ):
                raise CorruptData(f"{path}: not a record of rollbacks; restore it")
            self._entries = content

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, needed: RollbackNeeded, scenes_of: Callable[[int], list[int] | None]) -> None:
        """Records a rollback, with the scenes of the skipped batches.

        Args:
          needed: what happened.
          scenes_of: image ids of the batch of a step, or None if batches have none.

        Raises:
          Diverged: if there were too many. The record is written first.
        """
        scenes = {step: scenes_of(step) for step in needed.skipped_steps}
        skipped = [
            {"step": step} | ({} if ids is None else {"image_ids": ids})
            for step, ids in scenes.items()
        ]
        self._entries.append({"at_step": needed.step, "skipped": skipped})
        self._in_process += 1
        if self._writes:
            write_json_atomic(self.path, self._entries)
        if self._in_process >= MOST:
            names = ", ".join(needed.not_finite)
            found = f"the last of them had {names} not finite; " if names else ""
            raise Diverged(
                f"step {needed.step}: losses or gradients were not finite or too large in the "
                f"latest {len(needed.skipped_steps)} steps, for the {self._in_process}rd time; "
                f"{found}{self.path} names the batches; look at them, or lower the learning "
                "rates or the adversarial weights"
            )
