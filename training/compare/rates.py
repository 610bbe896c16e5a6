"""One small search of learning rates, the same for every system."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.errors import BadInput
from rgan_tf.progress import note
from rgan_tf.registered_names import SEARCH_RUNS
from training.compare.entries import Entry
from training.compare.steps import Evaluation
from training.evaluation.collapse import draws_one_image

RATES = ("training.generator_learning_rate", "training.discriminator_learning_rate")
"""The settings that are searched."""

_COLLAPSED = " (one image)"  # in messages and in the table
_ADDED = len(RATES) + 1  # settings of a short run besides those of its entry


class Try(NamedTuple):
    """What a short run gave.

    Attributes:
      distance: kernel distance on val in predicted boxes; infinite if the run diverged.
      is_one_image: whether it draws the same image for every scene.
    """

    distance: float
    is_one_image: bool = False

    @property
    def order(self) -> tuple[bool, bool, float]:
        """The lowest is the best; a run that reads its scenes is better than one that does not."""
        return math.isinf(self.distance), self.is_one_image, self.distance

    def __str__(self) -> str:
        return f"{self.distance:.3f}{_COLLAPSED if self.is_one_image else ''}"


def check_factors(factors: Sequence[float], steps: int) -> None:
    """Raises BadInput unless there are two factors at least, each once, positive and finite."""
    names = {f"{factor:g}" for factor in factors}  # of runs
    sound = all(math.isfinite(factor) and factor > 0 for factor in factors)
    if not sound or len(names) < max(2, len(factors)):
        raise BadInput(
            f"--search-rates {' '.join(f'{factor:g}' for factor in factors)}: needs at least two "
            "different factors above 0, such as 1 2.5 5"
        )
    if steps < 1:
        raise BadInput(f"--search-steps {steps}: must be at least 1")


def short_runs(
    entry: Entry, config: Config, factors: Sequence[float], steps: int
) -> dict[float, Entry]:
    """Factor -> the entry of a short run with both learning rates of the config times it."""
    runs = {}
    for factor in factors:
        added = [f"{name}={flat_settings(config)[name] * factor!r}" for name in RATES]
        runs[factor] = dataclasses.replace(
            entry,
            name=f"{entry.name}-rate_{factor:g}",
            run=f"{SEARCH_RUNS}/{entry.run}-rate_{factor:g}",
            settings=(*entry.settings, *added, f"training.steps={steps}"),
            steps=steps,
        )
    return runs


def search(
    entries: Sequence[Entry],
    tries: Mapping[str, Mapping[float, Entry]],
    evaluated: Callable[[Entry], Evaluation | None],
) -> tuple[list[Entry], dict[str, dict[float, Try]]]:
    """Gives every entry the rates whose short run has the lowest kernel distance.

    A run that draws the same image for every scene is taken only where all do.

    Args:
      entries: the rows.
      tries: name of an entry with a run of its own -> its `short_runs`.
      evaluated: trains and judges one of them on val; None if it diverged.

    Returns:
      The entries with their rates, and name -> factor -> what it gave.

    Raises:
      BadInput: if a system diverged at all of them.
    """
    found: dict[str, dict[float, Try]] = {}
    settings: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        if entry.name not in tries:
            continue
        results = found[entry.name] = {
            factor: _try(run, evaluated(run)) for factor, run in tries[entry.name].items()
        }
        best = best_factor(results)
        if math.isinf(results[best].distance):
            raise BadInput(f"{entry.name}: diverged at every learning rate; search lower ones")
        settings[entry.run] = tries[entry.name][best].settings[-_ADDED:-1]
        tried = ", ".join(f"{factor:g}: {result}" for factor, result in results.items())
        note(f"compare: {entry.name}: learning rates times {best:g} ({tried})")
    chosen = [
        dataclasses.replace(entry, settings=(*entry.settings, *settings.get(entry.run, ())))
        for entry in entries
    ]
    return chosen, found


def best_factor(results: Mapping[float, Try]) -> float:
    """The factor of the best result; the first of equal ones."""
    return min(results, key=lambda factor: results[factor].order)


def _try(entry: Entry, evaluation: Evaluation | None) -> Try:
    if evaluation is None:
        return Try(math.inf)
    place = f"{entry.system}/predicted_boxes/"
    for name, value in evaluation.metrics.items():
        metric = name.removeprefix(place)
        if name.startswith(place) and metric.startswith(("kid", "kd_")) and "/" not in metric:
            return Try(value, draws_one_image(evaluation.images, entry.system))
    return Try(math.inf)


def rates_table(found: Mapping[str, Mapping[float, Try]], steps: int) -> str:
    """Markdown: the distance of each system at each factor, the chosen one in bold.

    Names the systems whose best factor is the lowest or the highest.
    """
    factors = list(next(iter(found.values())))
    lines = [
        f"Learning rates times a factor, {steps} steps: kernel distance on val, predicted boxes",
        "",
        "| system | " + " | ".join(f"{factor:g}" for factor in factors) + " |",
        "|" + "---|" * (len(factors) + 1),
    ]
    at_the_end = []
    for name, results in found.items():
        best = best_factor(results)
        if best in (min(results), max(results)):
            at_the_end.append(name.replace("_", " "))
        cells = [
            f"**{result}**" if factor == best else str(result) for factor, result in results.items()
        ]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    if at_the_end:
        lines += [
            "",
            f"Best at the lowest or highest factor: {', '.join(at_the_end)}. Factors beyond it "
            "were not tried.",
        ]
    if any(result.is_one_image for results in found.values() for result in results.values()):
        lines += ["", "One image: the run draws the same for every scene; taken only where all do."]
    return "\n".join(lines)
