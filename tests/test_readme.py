"""What the documents say can be typed, and what they name exists."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml

import rgan_tf
from export.commands import demo
from rgan_tf import cli
from rgan_tf.annotations.coco import read_coco_dataset
from rgan_tf.cli import COMMANDS, _build_parser
from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.losses import GENERATOR_LOSSES
from rgan_tf.scene_graph import encode_scene_graph, load_scene_graphs
from rgan_tf.storage.image import read_image
from rgan_tf.world import draw_world

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
    *ROOT.glob("CONTRIBUTING.md"),
    *sorted((ROOT / "rgan_tf" / "released").rglob("*.md")),
    *sorted((ROOT / "training" / "configs").glob("*.yaml")),
]
EXAMPLE = ROOT / "examples" / "scene.json"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def first_of_the_demo(tmp_path_factory) -> PreparedData:
    """The data that `rgan demo` prepares, of its first scenes."""
    folder = tmp_path_factory.mktemp("demo") / "world"

    def draw(inside: Path):
        draw_world(inside / "coco", images=12, size=demo.SIZE, seed=demo.WORLD_SEED)
        return read_coco_dataset(inside / "coco", seed=demo.WORLD_SEED, kind="procedural")

    prepare_dataset(draw, folder, image_size=demo.SIZE, progress=False)
    return PreparedData.open(folder)


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


def test_documented_commands_have_these_options():
    wrong = {}
    for command in documented_commands():
        try:
            assert parse(command).command == command.split()[1]
        except (BadInput, AssertionError) as error:
            wrong[command] = str(error)
    assert not wrong


def test_an_option_that_does_not_exist_would_be_noticed():
    with pytest.raises(BadInput, match="--colour"):
        parse("rgan generate GRAPH.json --model MODEL --out OUT --colour red")


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of the command, task and data set that are named, however far that goes."""
    words = command.split()[1:]
    parser = _build_parser(words, COMMANDS)
    for word in words:
        tasks = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not tasks or word not in tasks[0].choices:
            break
        parser = tasks[0].choices[word]
    return parser


def unknown_words(text: str) -> list[str]:
    """What a text names in backticks and is not there: commands, options, settings, targets."""
    settings = flat_settings(Config())
    sections = {key.split(".")[0] for key in settings if "." in key}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    unknown = []
    for command in re.findall(r"`(rgan [a-z][^`]*)`", text.replace("\n", " ")):
        if command.split()[1] not in {one.name for one in COMMANDS}:
            unknown.append(command)
            continue
        known = {word for action in parser_of(command)._actions for word in action.option_strings}
        unknown += [
            f"{command}: {o}" for o in re.findall(r"--[a-z][\w-]*", command) if o not in known
        ]
    for section, key in re.findall(r"`([a-z_0-9]+)\.([a-z_]+)(?:[=:][^`]*)?`", text):
        if section in sections and key not in FILES and f"{section}.{key}" not in settings:
            unknown.append(f"{section}.{key}")
    return unknown + [t for t in re.findall(r"`make ([a-z-]+)", text) if t not in targets]


FILES = {"json", "py", "md"}  # `graph.json` is not a setting


def test_commands_settings_and_targets_within_sentences_exist():
    wrong = {path.name: unknown_words(path.read_text("utf-8")) for path in DOCUMENTS}
    assert {name: words for name, words in wrong.items() if words} == {}
    assert unknown_words("`rgan eval --run RUN --colour`") == [
        "rgan eval --run RUN --colour: --colour"
    ]
    assert unknown_words("`rgan prepare coco --root R`, `graph.width`, `make demo`") == []
    assert unknown_words("`rgan sing`, `graph.wdth=3`, `make tea`") == [
        "rgan sing",
        "graph.wdth",
        "tea",
    ]


def test_files_and_folders_that_are_named_exist():
    folders = "rgan_tf|training|export|docs|examples|tests"
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    named = {
        (path.name, ROOT / name)
        for path, text in texts.items()
        for name in re.findall(rf"`((?:{folders})/[\w./]*)`", text)
    } | {
        (path.name, path.parent / name)
        for path, text in texts.items()
        for name in re.findall(r"\]\(([\w./-]+)(?:#[\w-]*)?\)", text)
    }
    assert len(named) > 50
    assert [pair for pair in sorted(named) if not pair[1].exists()] == []


def test_every_python_block_can_be_read_and_names_what_is_public():
    blocks = [
        (path.name, textwrap.dedent(block))
        for path in DOCUMENTS
        for block in re.findall(r"^ *```python\n(.*?)^ *```$", path.read_text("utf-8"), re.S | re.M)
    ]
    assert len(blocks) > 15
    for name, block in blocks:
        compile(block, name, "exec")
        named = set(re.findall(r"\brgan_tf\.([A-Za-z]\w*)\(", block))
        assert named <= set(rgan_tf.__all__), f"{name}: {named - set(rgan_tf.__all__)}"


def test_every_section_of_the_method_that_is_cited_exists():
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)[. ]", method, re.MULTILINE))
    sources = [
        path
        for folder in ("rgan_tf", "training", "export", "docs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".md", ".yaml")
    ]
    cited = {}
    for path in sources:
        for before, section in re.findall(
            r"(.{0,8})§(\d+(?:\.\d+)?)", path.read_text(encoding="utf-8")
        ):
            assert before.endswith("method "), f"{path.name}: §{section} of which page?"
            cited.setdefault(section, path.name)
    assert len(cited) > 5
    terms = method[method.index("### 6.2") : method.index("### 6.3")]
    rows = re.findall(r"^\| `(\w+)` \|", terms, re.MULTILINE)
    assert sorted(rows) == sorted(entry.name for entry in GENERATOR_LOSSES)
    assert {section: name for section, name in cited.items() if section not in sections} == {}


def test_the_site_has_every_page_and_every_public_name():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = [page if isinstance(page, str) else next(iter(page.values())) for page in site["nav"]]
    pages.remove("contributing.md")  # of CONTRIBUTING.md, which lies beside docs
    pages.remove("settings.md")  # of rgan_tf/config.py
    assert (ROOT / "CONTRIBUTING.md").exists()
    assert sorted(pages) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    assert all((ROOT / name).exists() for name in site["hooks"])
    reference = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: rgan_tf\.(\w+)$", reference, re.MULTILINE)
    assert sorted(names) == sorted(rgan_tf.__all__)


def test_the_scene_graph_in_the_readme_is_the_example_that_ships():
    (block,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert json.loads(block) == json.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert "rgan generate examples/scene.json --model demo/model --out OUT" in documented_commands()


def test_the_example_locks_what_it_names_in_the_demos_bank(first_of_the_demo):
    """A larger world begins with the same pictures, so the first patches are those of the demo."""
    (graph,) = load_scene_graphs(EXAMPLE)
    encode_scene_graph(graph, first_of_the_demo.vocabulary, max_objects=8, max_triples=16)
    own = [patch for patch in graph.patches if isinstance(patch, str)]
    assert own == ["my_tree.png"] and graph.objects[graph.patches.index(*own)] == "tree"
    assert min(read_image(EXAMPLE.parent / own[0]).shape[:2]) >= 64
    for name, patch in zip(graph.objects, graph.patches, strict=True):
        if isinstance(patch, int):
            assert first_of_the_demo.bank.rows[patch]["category"] == name


@pytest.mark.slow
def test_the_example_runs_on_the_demos_model(tmp_path, first_of_the_demo, capfd):
    """Takes minutes: it is the demo itself."""
    model = tmp_path / "demo" / "model"
    assert cli.main(["demo", "--out", str(tmp_path / "demo")]) == 0
    capfd.readouterr()
    words = ["--model", str(model), "--out", str(tmp_path / "out")]
    assert cli.main(["generate", str(EXAMPLE), *words]) == 0
    capfd.readouterr()
    rows = (model / "1" / "assets.extra" / "provenance.jsonl").read_text().splitlines()
    for row, expected in zip(map(json.loads, rows), first_of_the_demo.bank.rows, strict=False):
        assert (row["category"], row["image_id"]) == (expected["category"], expected["image_id"])
    samples = list((tmp_path / "out").glob("sample-*[0-9].json"))
    assert samples
    for sample in samples:
        chosen = json.loads(sample.read_text())["objects"]
        assert [one["category"] for one in chosen] == ["sky", "grass", "house", "tree"]
        assert chosen[2]["patch"]["id"] == 2
