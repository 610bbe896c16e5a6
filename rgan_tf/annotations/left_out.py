"""What a reader leaves out, counted by reason, and the limit on bad images."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path

from rgan_tf.arguments import real_number
from rgan_tf.errors import BadInput, RganError

_NAMED = 3  # of each reason


class LeftOut:
    """Images and objects that were left out.

    Attributes:
      counts: by reason.
      first: names (and details) of the first few for each reason.
    """

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.first: dict[str, list[str]] = {}

    def add(self, reason: str, what: object, detail: str = "") -> None:
        """Counts one.

        Args:
          reason: "image: ...", "object: ..." or "relationship: ...".
          what: converted by `str` to its name, only if that is shown.
          detail: what is wrong with this one, beyond the reason.
        """
        self.counts[reason] += 1
        first = self.first.setdefault(reason, [])
        if len(first) < _NAMED:
            first.append(plain_text(f"{what}: {detail}" if detail else str(what)))

    def nothing_left(self, message: str, options: Mapping[str, str]) -> BadInput:
        """The error for an empty result, with the reasons and the options that change them.

        Args:
          message: what is empty.
          options: the option that helps, by the beginning of a reason.
        """
        reasons = ", ".join(f"{count} x {reason}" for reason, count in self.counts.most_common(6))
        advice = [
            option
            for start, option in options.items()
            if any(reason.startswith(start) for reason in self.counts)
        ]
        return BadInput(
            message
            + (f"; left out: {reasons}" if reasons else "")
            + (f"; {' and '.join(advice)} may keep more" if advice else "")
        )


class Unusable(Exception):
    """Raised for an object or image that is left out.

    Args:
      reason, detail: for `LeftOut.add`.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class BadImages:
    """Collects unusable images; more than `--max-bad` allows end the command.

    Args:
      max_bad: allowed share of all images.

    Attributes:
      max_bad: as given.
      lines: one line per image: what is wrong.

    Raises:
      BadInput: if the share is not in [0, 1).
    """

    def __init__(self, max_bad: float):
        if not 0 <= real_number(max_bad, "--max-bad") < 1:
            raise BadInput(f"--max-bad must be a share in [0, 1), got {max_bad}")
        self.max_bad = max_bad
        self.lines: list[str] = []
        self._last: RganError = BadInput("")

    def add(self, error: RganError | str, name: str = "", path: str | Path = "") -> None:
        """Records an image.

        Args:
          error: what is wrong.
          name: of the image, put before the error in `lines`.
          path: of its file; `lines` have the last part alone, as they are kept with data or a bank,
            whose bytes must not depend on where the images lay.
        """
        self._last = BadInput(error) if isinstance(error, str) else error
        line = f"{name}: {error}" if name else str(error)
        self.lines.append(plain_text(line.replace(str(path), Path(path).name) if path else line))

    def check(self, images: int) -> None:
        """Ends the command if there are too many.

        Args:
          images: number of all images, including the bad ones.

        Raises:
          BadInput, CorruptData: of the type of the last error.
        """
        allowed = int(self.max_bad * images + 1e-9)
        if len(self.lines) > allowed:
            raise type(self._last)(
                f"{self._last}; --max-bad allows {allowed} such images, {len(self.lines)} were "
                f"found; repair them, or leave out more of the {images} with a larger --max-bad"
            )


def plain_text(text: str) -> str:
    """Replaces bytes of a path that are not text, so that any file can hold the result."""
    return text.encode("utf-8", "backslashreplace").decode()
