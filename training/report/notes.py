"""Collects what a report cannot show, one line each."""

from __future__ import annotations

from rgan_tf.progress import note


class Notes:
    """Collects lines for the report and prints each to standard error at once.

    Attributes:
      lines: in order.
    """

    def __init__(self):
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Adds a line; line ends in it become spaces."""
        line = " ".join(line.split())
        self.lines.append(line)
        note(f"report: {line}")
