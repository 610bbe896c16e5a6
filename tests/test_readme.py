"""What the documents say can be typed, and what they name exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from rgan_tf.cli import COMMANDS, _build_parser
from rgan_tf.errors import BadInput
from rgan_tf.scene_graph import parse_scene_graph

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "training" / "configs").glob("*.yaml")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def documented_commands() -> list[str]:
    """Lines that show a whole `rgan` call, in code blocks and config headers."""
    lines = []
    for document in DOCUMENTS:
        for line in document.read_text(encoding="utf-8").splitlines():
            match = re.match(r"^[#\s$]*(rgan [a-z]+ .+)$", line)
            if match:
                lines.append(match.group(1).split("  #")[0])
    return sorted(set(lines))


def parse(command: str):
    arguments = shlex.split(command)[1:]
    return _build_parser(arguments, COMMANDS).parse_args(arguments)


def test_there_are_commands_to_check():
    assert {line.split()[1] for line in documented_commands()} >= {
        "prepare",
        "train",
        "eval",
        "export",
        "generate",
    }


@pytest.mark.parametrize("command", documented_commands())
def test_a_documented_command_has_these_options(command):
    assert parse(command).command == command.split()[1]


def test_an_option_that_does_not_exist_would_be_noticed():
    with pytest.raises(BadInput, match="--colour"):
        parse("rgan generate GRAPH.json --model MODEL --out OUT --colour red")


def test_files_and_folders_that_are_named_exist():
    named = set(re.findall(r"`((?:rgan_tf|training|export|docs)/[\w./]*)`", README))
    named |= set(re.findall(r"\]\(([\w./]+)\)", README))
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_scene_graph_in_the_readme_is_one():
    (block,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    graph = parse_scene_graph(json.loads(block), "README")
    assert graph.objects[3] == "tree" and graph.patches[2] == 17
