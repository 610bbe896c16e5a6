"""The numbers that `rgan bench` takes: one out of range is refused by the name of its option."""

from __future__ import annotations

import argparse

import pytest

from rgan_tf import cli


def parser_of(task: str) -> argparse.ArgumentParser:
    parser = cli._build_parser(["bench", task], cli.COMMANDS)
    for word in ("bench", task):
        actions = parser._actions
        choices = next(each for each in actions if isinstance(each, argparse._SubParsersAction))
        parser = choices.choices[word]
    return parser


def numbers_of(task: str) -> list[tuple[str, str]]:
    actions = parser_of(task)._actions
    return [(task, each.option_strings[0]) for each in actions if each.type in (int, float)]


BENCHES = next(each for each in cli.COMMANDS if each.name == "bench").tasks


def words_of(task: str, tmp_path) -> list[str]:
    """What a task requires, and names nothing that exists."""
    words = []
    for action in parser_of(task)._actions:
        if action.option_strings and action.required:
            words += [action.option_strings[0], str(tmp_path / "nothing")]
        elif not action.option_strings:
            words.append("procedural_64" if action.dest == "config" else "nothing")
    return words


@pytest.mark.parametrize(
    "task, option", [each for task in BENCHES for each in numbers_of(task.name)]
)
def test_a_number_out_of_range_is_named_with_its_option(rgan, tmp_path, task, option):
    result = rgan("bench", task, *words_of(task, tmp_path), f"{option}=-3")
    assert result.code == 2 and f"{option} -3" in result.err, result.err
