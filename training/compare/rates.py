"""One small search of learning rates, the same for every system."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rgan_tf.config import Config
from rgan_tf.errors import BadInput
from rgan_tf.progress import note
from training.compare.entries import Entry

_RATES = ("generator_learning_rate", "discriminator_learning_rate")
_ADDED = len(_RATES) + 1  # settings of a short run besides those of its entry


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
        added = [f"training.{name}={getattr(config.training, name) * factor!r}" for name in _RATES]
        runs[factor] = dataclasses.replace(
            entry,
            name=f"{entry.name}-rate_{factor:g}",
            run=f"search/{entry.run}-rate_{factor:g}",
            settings=(*entry.settings, *added, f"training.steps={steps}"),
            steps=steps,
        )
    return runs


def search(
    entries: Sequence[Entry],
    tries: Mapping[str, Mapping[float, Entry]],
    metrics_of: Callable[[Entry], Mapping[str, Any]],
) -> tuple[list[Entry], dict[str, dict[float, float]]]:
    """Gives every entry the rates whose short run has the lowest kernel distance.

    Args:
      entries: the rows.
      tries: name of an entry with a run of its own -> its `short_runs`.
      metrics_of: trains and judges one of them on val; {} if it diverged.

    Returns:
      The entries with their rates, and name -> factor -> distance in predicted boxes; infinite
      for a run that diverged.

    Raises:
      BadInput: if a system diverged at all of them.
    """
    found: dict[str, dict[float, float]] = {}
    settings: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        if entry.name not in tries:
            continue
        distances = found[entry.name] = {
            factor: _distance(run, metrics_of(run)) for factor, run in tries[entry.name].items()
        }
        best = best_factor(distances)
        if math.isinf(distances[best]):
            raise BadInput(f"{entry.name}: diverged at every learning rate; search lower ones")
        settings[entry.run] = tries[entry.name][best].settings[-_ADDED:-1]
        tried = ", ".join(f"{factor:g}: {value:.3f}" for factor, value in distances.items())
        note(f"compare: {entry.name}: learning rates times {best:g} ({tried})")
    chosen = [
        dataclasses.replace(entry, settings=(*entry.settings, *settings.get(entry.run, ())))
        for entry in entries
    ]
    return chosen, found


def best_factor(distances: Mapping[float, float]) -> float:
    """The factor with the lowest distance; the first of equal ones."""
    return min(distances, key=distances.__getitem__)


def _distance(entry: Entry, metrics: Mapping[str, Any]) -> float:
    place = f"{entry.system}/predicted_boxes/"
    for name, value in metrics.items():
        metric = name.removeprefix(place)
        if name.startswith(place) and metric.startswith(("kid", "kd_")) and "/" not in metric:
            return value
    return math.inf


def rates_table(found: Mapping[str, Mapping[float, float]], steps: int) -> str:
    """Markdown: the distance of each system at each factor; the chosen one in bold."""
    factors = list(next(iter(found.values())))
    lines = [
        f"Learning rates times a factor, {steps} steps: kernel distance on val, predicted boxes",
        "",
        "| system | " + " | ".join(f"{factor:g}" for factor in factors) + " |",
        "|" + "---|" * (len(factors) + 1),
    ]
    for name, distances in found.items():
        best = best_factor(distances)
        cells = [
            f"**{value:.3f}**" if factor == best else f"{value:.3f}"
            for factor, value in distances.items()
        ]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
