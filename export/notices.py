"""Notices about patches of another category than their object, and about repeated patches."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, NamedTuple

from export.model_folder import ModelFolder
from export.requests import MODEL, USER
from rgan_tf.bank.licences import LicenceFilter

_LINES = 20  # logged by a command; its result has all


class OtherCategory(NamedTuple):
    """An object of a graph with a patch of another category.

    Attributes:
      graph: index of the graph in its file.
      object: position in the graph.
      wanted: the object's category.
      taken: the patch's category.
      chosen_by: "model" or "user".
    """

    graph: int
    object: int
    wanted: str
    taken: str
    chosen_by: str


class SamePatch(NamedTuple):
    """Objects of a graph with the same patch, unless the user chose it for all of them.

    Attributes:
      graph: index of the graph in its file.
      objects: their positions.
      categories: of these objects.
    """

    graph: int
    objects: tuple[int, ...]
    categories: tuple[str, ...]


class PatchNotices:
    """Collects notices over the samples of a command.

    Args:
      model: makes the samples.
      licences: filter for retrieval.
    """

    def __init__(self, model: ModelFolder, licences: LicenceFilter):
        self._model = model
        self._licences = licences
        self._others: Counter[OtherCategory] = Counter()
        self._same: Counter[SamePatch] = Counter()
        self._allowed: set[SamePatch] = set()

    def add(self, description: dict[str, Any]) -> None:
        """Adds a sample as described by `export.result_folder.describe_sample`."""
        graph, objects = description["graph"], description["objects"]
        if not self._model.reads_patches:
            return
        for position, item in enumerate(objects):
            patch = item["patch"]
            if patch["id"] is not None and not item["category_found"]:
                wanted, taken = item["category"], patch["category"]
                other = OtherCategory(graph, position, wanted, taken, patch["chosen_by"])
                self._others[other] += 1
            places = sorted([position, *item["same_patch_as"]])
            chosen_by = {objects[place]["patch"]["chosen_by"] for place in places}
            if places[0] == position and len(places) > 1 and chosen_by != {USER}:
                categories = tuple(objects[place]["category"] for place in places)
                same = SamePatch(graph, tuple(places), categories)
                self._same[same] += 1
                if description.get("repeats_allowed") and self._model.avoids_repeats:
                    self._allowed.add(same)  # the user has allowed it

    def result(self) -> dict[str, Any]:
        """Entries of the command's result, each with its number of samples.

        `fallbacks` counts the patches of another category that the model had to take.
        """
        return {
            "fallbacks": sum(n for other, n in self._others.items() if other.chosen_by == MODEL),
            "other_category": [
                {**other._asdict(), "samples": n} for other, n in self._others.items()
            ],
            "same_patch": [{**same._asdict(), "samples": n} for same, n in self._same.items()],
        }

    def lines(self) -> list[str]:
        """A line about each notice, except for repeats that the user allowed."""
        lines = [self._line_of_other(other, n) for other, n in self._others.items()]
        lines += [
            self._line_of_same(same, n)
            for same, n in self._same.items()
            if same not in self._allowed
        ]
        return lines

    def log(self) -> None:
        """Logs these lines."""
        lines = self.lines()
        log = logging.getLogger(__name__)
        for line in lines[:_LINES]:
            log.warning("%s", line)
        if len(lines) > _LINES:
            log.warning("and %d more of this kind; the result lists all", len(lines) - _LINES)

    def _line_of_other(self, other: OtherCategory, samples: int) -> str:
        what = f"graph {other.graph}: object {other.object} ({other.wanted})"
        if other.chosen_by == USER:
            return f"{what} has a patch of {other.taken}, as the graph says"
        return f"{what} got a patch of {other.taken}{_in(samples)}: {self._why(other.wanted)}"

    def _why(self, category: str) -> str:
        has_own = any(
            row["category"] == category and self._licences.allows(row["licence"] or "")
            for row in self._model.provenance
        )
        if has_own:
            return "the model is of an earlier version and fills up with others; export it again"
        under = "" if self._licences.codes is None else f" under {self._licences}"
        return f"the model has no patch of {category}{under}"

    def _line_of_same(self, same: SamePatch, samples: int) -> str:
        objects = ", ".join(map(str, same.objects))
        names = ", ".join(dict.fromkeys(same.categories))
        if self._model.rival is not None:
            why = f"{self._model.system} draws each object's patch by itself"
        elif self._model.avoids_repeats:
            why = "none of their other candidates was free"
        else:
            why = "the model is of an earlier version and lets patches repeat; export it again"
        return f"graph {same.graph}: objects {objects} ({names}) got one patch{_in(samples)}: {why}"


def _in(samples: int) -> str:
    return "" if samples == 1 else f" in {samples} samples"
