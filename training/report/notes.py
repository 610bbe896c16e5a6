"""What a report could not show, in one line each."""

from __future__ import annotations

import sys


class Notes:
    """Collects lines for the report and says each on standard error at once.

    Attributes:
      lines: in the order they came.
    """

    def __init__(self):
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Adds one; line ends within it become spaces."""
        line = " ".join(line.split())
        self.lines.append(line)
        print(f"report: {line}", file=sys.stderr, flush=True)
