"""`rgan study report`: the participants' preferences and the automatic metrics."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import write_bytes_atomic
from training.study.answers import Answers, read_answers
from training.study.key import Key, KeyPair, read_key
from training.study.markdown import MARKS, markdown
from training.study.statistics import binomial_p_value, cluster_interval, wilson_interval

REPORT = "report.md"
# Metric -> 1 if more is better, -1 if less is.
STAND_INS = {"style_agreement": 1, "cooccurrence_distance": -1}


def report(args: argparse.Namespace) -> dict[str, Any]:
    """Reads the answers, writes FOLDER/report.md and returns its numbers.

    Raises:
      BadInput: if folder or answers are not usable, or report.md is another program's.
      CorruptData: if the key is damaged.
    """
    key = read_key(args.study)
    people = read_answers(args.answers, key)
    path = Path(args.study) / REPORT
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else MARKS[0]
    if not any(mark in text for mark in MARKS):
        raise BadInput(f"{path}: was not written by rgan study report; move it away")
    result = evaluate(key, people)
    write_bytes_atomic(path, markdown(result).encode("utf-8"))
    return {"study": str(args.study), "report": str(path), **result}


def evaluate(key: Key, people: list[Answers]) -> dict[str, Any]:
    """All results of a study.

    A repeated pair counts once, by its first showing; the second is only used for consistency.

    Args:
      key: of the study.
      people: at least one participant with at least one answer.

    Raises:
      BadInput: if all answers are to repeated showings.
    """
    counted = {person.participant: _counted(key, person) for person in people}
    counted = {name: chosen for name, chosen in counted.items() if chosen}
    if not counted:
        raise BadInput("--answers: no answer to a pair's first showing; there is nothing to count")
    for_a = [_count_a(chosen) for chosen in counted.values()]
    trials = [len(chosen) for chosen in counted.values()]
    hits, total = sum(for_a), sum(trials)
    sides = [side for person in people for side in person.sides.values()]
    times = [time for person in people for time in person.milliseconds.values()]
    return {
        "page": key.page,
        "shows": key.shows,
        "a": key.names["a"],
        "b": key.names["b"],
        "participants": len(people),
        "pairs": len(key.originals),
        "answers": total,
        "unanswered": len(people) * len(key.originals) - total,
        "for_a": hits,
        "preference": hits / total,
        "wilson_95": wilson_interval(hits, total),
        "bootstrap_95": cluster_interval(for_a, trials),
        "p_value": binomial_p_value(hits, total),
        "consistency": _consistency(key, people),
        "left_share": sides.count("left") / len(sides),
        "median_seconds": statistics.median(times) / 1000,
        "per_participant": {person.participant: _of_person(key, person) for person in people},
        "stand_ins": {
            name: _stand_in(key, list(counted.values()), name, sign)
            for name, sign in STAND_INS.items()
            if any(_gap(pair, name, sign) is not None for pair in key.originals)
        },
    }


def _counted(key: Key, person: Answers) -> dict[str, str]:
    """Pair id -> "a" or "b", first showings only."""
    return {pair.id: person.chosen[pair.id] for pair in key.originals if pair.id in person.chosen}


def _count_a(chosen: dict[str, str]) -> int:
    return sum(choice == "a" for choice in chosen.values())


def _of_person(key: Key, person: Answers) -> dict[str, Any]:
    chosen = _counted(key, person)
    hits = _count_a(chosen)
    return {
        "answers": len(chosen),
        "for_a": hits,
        "preference": hits / len(chosen) if chosen else None,
        "consistency": _consistency(key, [person]),
        "left_share": list(person.sides.values()).count("left") / len(person.sides),
        "median_seconds": statistics.median(person.milliseconds.values()) / 1000,
    }


def _consistency(key: Key, people: list[Answers]) -> dict[str, Any]:
    """How often the same set was chosen again when the sides were swapped."""
    same = [
        person.chosen[pair.id] == person.chosen[pair.repeats]
        for person in people
        for pair in key.pairs.values()
        if pair.repeats in person.chosen and pair.id in person.chosen
    ]
    return {
        "repeated": len(same),
        "same": sum(same),
        "share": sum(same) / len(same) if same else None,
    }


def _stand_in(key: Key, counted: list[dict[str, str]], name: str, sign: int) -> dict[str, Any]:
    """The verdict of an automatic metric on the same pairs, and how often people agree with it."""
    gaps = {pair.id: _gap(pair, name, sign) for pair in key.originals}
    known = [pair for pair in key.originals if gaps[pair.id] is not None]
    decided = {pair: "a" if gap > 0 else "b" for pair, gap in gaps.items() if gap}
    alike = [
        choice == decided[pair]
        for chosen in counted
        for pair, choice in chosen.items()
        if pair in decided
    ]
    return {
        "better": "higher" if sign > 0 else "lower",
        "mean_a": float(np.mean([pair.figures["a"][name] for pair in known])),
        "mean_b": float(np.mean([pair.figures["b"][name] for pair in known])),
        "pairs": len(known),
        "ties": len(known) - len(decided),
        "pairs_for_a": _count_a(decided),
        "preference": _count_a(decided) / len(decided) if decided else None,
        "agreement": {
            "answers": len(alike),
            "alike": sum(alike),
            "share": sum(alike) / len(alike) if alike else None,
            "wilson_95": wilson_interval(sum(alike), len(alike)),
        },
    }


def _gap(pair: KeyPair, name: str, sign: int) -> float | None:
    """The lead of set a in a metric; None if it is not known for both."""
    if not all(name in pair.figures[side] for side in ("a", "b")):
        return None
    return sign * (pair.figures["a"][name] - pair.figures["b"][name])
