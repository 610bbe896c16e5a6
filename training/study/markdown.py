"""The report of a study as a page to read."""

from __future__ import annotations

from typing import Any

MARK = "# Which patches fit together: "
_TITLES = {
    "style_agreement": "style agreement",
    "cooccurrence_distance": "co-occurrence distance",
}


def markdown(result: dict[str, Any]) -> str:
    """Renders what `training.study.report.evaluate` found."""
    a, b = _text(result["a"]), _text(result["b"])
    lines = [
        f"{MARK}{a} or {b}",
        "",
        f"Page {result['page']}: {result['pairs']} pairs, {result['participants']} participants, "
        f"{result['answers']} answers, {result['unanswered']} missing.",
        "",
        f"**{a} was preferred in {_percent(result['preference'])} of the answers** "
        f"({result['for_a']} of {result['answers']}).",
        "",
        "| figure | value |",
        "|---|---|",
        f"| 95 % interval, answers independent (Wilson) | {_interval(result['wilson_95'])} |",
        f"| 95 % interval, participants drawn (bootstrap) | {_interval(result['bootstrap_95'])} |",
        f"| two-sided p-value of no preference (exact binomial) | {result['p_value']:.3g} |",
        f"| same choice when a pair came again, sides swapped | {_same(result)} |",
        f"| left set chosen, all answers | {_percent(result['left_share'])} |",
        f"| median time of an answer | {result['median_seconds']:.1f} s |",
        "",
        "## Participants",
        "",
        f"| participant | answers | for {a} | share | same choice again | left | median time |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figures in result["per_participant"].items():
        cells = (
            _text(name),
            figures["answers"],
            figures["for_a"],
            _percent(figures["preference"]),
            _same(figures),
            _percent(figures["left_share"]),
            f"{figures['median_seconds']:.1f} s",
        )
        lines.append(_row(cells))
    lines += [
        "",
        "## Automatic figures of the same pairs",
        "",
        f"| figure | better | mean {a} | mean {b} | pairs for {a} | ties | people choose alike |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figures in result["stand_ins"].items():
        alike = figures["agreement"]
        decided = figures["pairs"] - figures["ties"]
        cells = (
            _TITLES[name],
            figures["better"],
            f"{figures['mean_a']:.3f}",
            f"{figures['mean_b']:.3f}",
            f"{figures['pairs_for_a']} of {decided}",
            figures["ties"],
            f"{alike['alike']} of {alike['answers']}, {_percent(alike['share'])} "
            f"({_interval(alike['wilson_95'])})",
        )
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _row(cells) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _same(figures: dict[str, Any]) -> str:
    again = figures["consistency"]
    if not again["repeated"]:
        return "-"
    return f"{again['same']} of {again['repeated']}, {_percent(again['share'])}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{_percent(ends[0])} to {_percent(ends[1])}"


def _text(name: str) -> str:
    """A name that stays text in a table."""
    for mark in "\\|`*_<>[]":
        name = name.replace(mark, f"\\{mark}")
    return name
