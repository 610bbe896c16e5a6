"""The parser under every kind of bad input, and the padded encoding in hand-worked numbers."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.errors import BadInput
from rgan_tf.scene_graph import (
    SceneGraph,
    decode_scene_graph,
    encode_scene_graph,
    load_scene_graphs,
    parse_scene_graph,
)
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES, Vocabulary

WORLD = Vocabulary.from_categories(["sky", "grass", "tree", "cow"])
MEADOW = {
    "objects": ["sky", "grass", "cow"],
    "relationships": [[0, "above", 1], [2, "inside", 1]],
    "boxes": [None, [0, 0.5, 1, 1], None],
    "patches": [17, None, "my/cow.png"],
}


def _with(**changes):
    return {**MEADOW, **changes}


def test_parse_keeps_what_was_written():
    assert parse_scene_graph(MEADOW) == SceneGraph(
        objects=("sky", "grass", "cow"),
        relationships=((0, "above", 1), (2, "inside", 1)),
        boxes=(None, (0.0, 0.5, 1.0, 1.0), None),
        patches=(17, None, "my/cow.png"),
    )


def test_only_objects_are_required():
    graph = parse_scene_graph({"objects": ["sky"]})
    assert graph == SceneGraph(("sky",), (), (None,), (None,))
    assert parse_scene_graph({"objects": ["sky"], "boxes": None, "patches": None}) == graph


def test_a_graph_as_json_is_read_as_itself():
    graph = parse_scene_graph(MEADOW)
    assert parse_scene_graph(json.loads(json.dumps(graph.to_json()))) == graph
    short = SceneGraph(("sky", "grass"))  # by hand: nothing is said of boxes and patches
    assert parse_scene_graph(short.to_json()) == parse_scene_graph({"objects": ["sky", "grass"]})


def test_a_graph_made_in_python_may_hold_what_python_computed():
    """A box of another picture, a row of the bank found by NumPy, a path."""
    boxes = np.array([[0.0, 0.25, 1.0, 0.5], [0.0, 0.5, 1.0, 1.0]], np.float32)
    graph = SceneGraph(("sky", "grass"), ((np.int64(0), "above", np.int32(1)),), boxes, (3, 4))
    plain = [[0.0, 0.25, 1.0, 0.5], [0.0, 0.5, 1.0, 1.0]]
    value = {"objects": ["sky", "grass"], "relationships": [[0, "above", 1]], "boxes": plain}
    value["patches"] = [3, 4]
    assert json.loads(json.dumps(graph.to_json())) == value
    parsed = parse_scene_graph(graph.to_json())
    assert parsed == parse_scene_graph(value)
    assert json.loads(json.dumps(parsed.to_json())) == value
    value["boxes"], value["patches"] = [None, list(boxes[1])], [np.uint16(3), Path("my/7.png")]
    assert parse_scene_graph(value).patches == (3, "my/7.png")
    assert parse_scene_graph(value).boxes == (None, (0.0, 0.5, 1.0, 1.0))


@pytest.mark.parametrize(
    "graph, reason",
    [
        (SceneGraph("sky"), "objects: expected a list, got str"),
        (SceneGraph(("sky",), ((0, "above", np.float32(0.5)),)), "must be an integer position"),
        (SceneGraph(("sky",), ((0, "above", np.bool_(False)),)), "must be an integer position"),
        (SceneGraph(("sky",), (), (np.array([0.0, 0.0, np.nan, 1.0]),)), "must lie in"),
        (SceneGraph(("sky",), (), (np.array([0, 0, 1]),)), "expected .x0, y0, x1, y1. or null"),
        (SceneGraph(("sky",), ((np.array(0), "above", 0),)), "must be an integer position"),
        (SceneGraph(None), "objects: expected a list, got nothing"),
        (SceneGraph(("sky",), 5), "relationships: expected a list, got int"),
        (SceneGraph(("sky",), (5,)), r"expected \[subject, \"name\", object\], got 5"),
        (SceneGraph(("sky",), None, (5,)), r"boxes\[0\]: expected .x0, y0, x1, y1. or null, got 5"),
    ],
)
def test_what_python_computed_is_checked_all_the_same(graph, reason):
    with pytest.raises(BadInput, match=reason):
        parse_scene_graph(graph.to_json())


def test_a_repeated_relation_counts_once():
    rows = [[0, "above", 1], [1, "below", 0], [0, "above", 1]]
    graph = parse_scene_graph({"objects": ["sky", "grass"], "relationships": rows})
    assert graph.relationships == ((0, "above", 1), (1, "below", 0))


@pytest.mark.parametrize(
    "value, reason",
    [
        ([], "expected an object"),
        (None, "expected an object"),
        ({}, "objects: expected a list, got nothing"),
        ({"objects": "sky"}, "expected a list, got str"),
        ({"objects": []}, "objects is empty"),
        ({"objects": ["sky"] * 17}, "17 entries, at most 16"),
        ({"objects": ["sky", ""]}, r"objects\[1\]: expected a name"),
        ({"objects": ["x" * 65]}, "1 to 64 characters"),
        ({"objects": [3]}, "got 3"),
        (_with(relationships={}), "relationships: expected a list"),
        (_with(relationships=[[0, "above", 1]] * 33), "33 entries, at most 32"),
        (_with(relationships=[[0, "above"]]), "expected .subject"),
        (_with(relationships=["above"]), "expected .subject"),
        (_with(relationships=[[0, "above", 3]]), r"position 3 must be in \[0, 3\)"),
        (_with(relationships=[[-1, "above", 1]]), "position -1 must be in"),
        (_with(relationships=[[0, "above", 10**400]]), "a huge integer"),
        (_with(relationships=[[0.5, "above", 1]]), "0.5 must be an integer"),
        (_with(relationships=[[float("nan"), "above", 1]]), "nan must be an integer"),
        (_with(relationships=[[0, "above", float("inf")]]), "inf must be an integer"),
        (_with(relationships=[["-1", "above", 1]]), "'-1' must be an integer"),
        (_with(relationships=[["3", "above", 1]]), r"position 3 must be in \[0, 3\)"),
        (_with(relationships=[[0, "above", "\u0661"]]), "must be an integer"),
        (_with(relationships=[[0, "in image", 3]]), r"position 3 must be in \[0, 3\)"),
        ({"objects": ["__image__"]}, "objects is empty"),
        ({"objects": ["sky"] * 17 + ["__image__"]}, "17 entries, at most 16"),
        ({"objects": ["__image__"] * 300}, "300 entries, at most 256"),
        (_with(relationships=[[0, "in image", 1]] * 300), "300 entries, at most 256"),
        (_with(boxes=[None, None, [0, 0, "1", 1]]), r"expected \[x0"),
        (_with(patches=[None, None, float("nan")]), "expected a bank id"),
        (_with(patches=[None, None, "99999999999"]), "expected a bank id"),
        (_with(relationships=[[True, "above", 0]]), "True must be an integer"),
        (_with(relationships=[[0, 7, 1]]), "expected a name"),
        (_with(relationships=[[1, "above", 1]]), "relates object 1 to itself"),
        (_with(boxes=[None]), "1 entries for 3 objects"),
        (_with(boxes=[None, None, [0, 0, 1]]), r"boxes\[2\]: expected \[x0"),
        (_with(boxes=[None, None, [0.5, 0, 0.4, 1]]), "x0 < x1"),
        (_with(boxes=[None, None, [0, 0.5, 1, 0.5]]), "y0 < y1"),
        (_with(boxes=[None, None, [0, 0.5, 1, 0.5 + 1e-12]]), "y0 < y1"),
        (_with(boxes=[None, None, [0, 0, 1.01, 1]]), r"must lie in \[0, 1\]"),
        (_with(boxes=[None, None, [-0.1, 0, 1, 1]]), r"must lie in \[0, 1\]"),
        (_with(boxes=[None, None, [0, 0, float("nan"), 1]]), r"must lie in \[0, 1\]"),
        (_with(boxes=[None, None, [0, 0, True, 1]]), r"expected \[x0"),
        (_with(patches=[None, None, -1]), "expected a bank id"),
        (_with(patches=[None, None, 2**31]), "expected a bank id"),
        (_with(patches=[None, None, 1.5]), "expected a bank id"),
        (_with(patches=[None, None, ""]), "expected a bank id"),
        (_with(patches=[None, None, "a\0b"]), "expected a bank id"),
    ],
)
def test_bad_structure_is_one_line_that_names_the_place(value, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        parse_scene_graph(value, "g.json")
    assert str(caught.value).startswith("g.json: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


ABOVE = ((0, "above", 1),)


@pytest.mark.parametrize(
    "change, relationships",
    [
        ({}, ()),
        ({"relationships": None}, ()),
        ({"relationships": []}, ()),
        ({"relationships": [[0.0, "above", 1.0]]}, ABOVE),
        ({"relationships": [["0", "above", "1"]]}, ABOVE),
        ({"relationships": [[0, "in image", 1]]}, ()),
        ({"relationships": [[0, "above", 1], [0, "__in_image__", 1], [1, "in_image", 1]]}, ABOVE),
        # What it is used for elsewhere is somebody else's, also where it could not be read here.
        ({"image_id": 5, "attributes": {"size": [1, 2]}, "features": None}, ()),
        ({"objects_": 1, "scores": float("nan")}, ()),
    ],
)
def test_what_other_programs_write_is_read(change, relationships):
    graph = parse_scene_graph({"objects": ["sky", "grass"], **change})
    assert graph == SceneGraph(("sky", "grass"), relationships, (None, None), (None, None))


def test_the_node_of_the_image_is_left_out_with_what_belongs_to_it():
    """As sg2im leaves a graph that it has drawn; here between the objects, to see positions."""
    graph = parse_scene_graph(
        {
            "objects": ["sky", "__image__", "cow"],
            "relationships": [
                [0, "__in_image__", 1],
                [2, "__in_image__", 1],
                [0, "above", 2],
                [2, "inside", 1],
            ],
            "boxes": [None, [0, 0, 1, 1], [0, 0.5, 1, 1]],
            "patches": [3, None, "17"],
        }
    )
    assert graph == SceneGraph(
        ("sky", "cow"), ((0, "above", 1),), (None, (0.0, 0.5, 1.0, 1.0)), (3, 17)
    )


def test_the_relations_of_the_image_do_not_count():
    objects = ["sky"] * 16 + ["__image__"]
    rows = [[i, "__in_image__", 16] for i in range(16)]
    rows += [[0, "above", 1]] * 32
    graph = parse_scene_graph({"objects": objects, "relationships": rows})
    assert len(graph.objects) == 16 and graph.relationships == ((0, "above", 1),)
    with pytest.raises(BadInput, match="relationships: 33 entries, at most 32"):
        parse_scene_graph({"objects": objects, "relationships": [*rows, [0, "above", 1]]})


def test_patches_by_whole_floats_and_digits_are_ids():
    graph = parse_scene_graph({"objects": ["sky"] * 4, "patches": [17.0, "17", "./17", None]})
    assert graph.patches == (17, 17, "./17", None)


@pytest.mark.parametrize("key, meant", [("relationship", "relationships"), ("patch", "patches")])
def test_a_key_that_looks_like_a_slip_is_told(key, meant, caplog):
    parse_scene_graph({"objects": ["sky"], key: [], "image_id": 3, 7: "seven"}, "g.json")
    assert [record.getMessage() for record in caplog.records] == [
        f"g.json: key {key!r} is not read; did you mean {meant}?"
    ]


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"objects": ["sky"], "objects": ["cow"]}', "objects: expected a list, got two values"),
        (
            '{"objects": ["sky"], "patches": [1], "patches": [2]}',
            "patches: .* got two values",
        ),
        ('{"objects": ["sky"], "boxes": [[0, 0, NaN, 1]]}', r"must lie in \[0, 1\]"),
        ('{"objects": ["sky", "cow"], "relationships": [[0, "above", %s]]}' % ("9" * 5000), "must"),
    ],
)
def test_what_is_read_must_be_said_once_and_in_numbers(tmp_path, text, reason):
    (tmp_path / "g.json").write_text(text)
    with pytest.raises(BadInput, match=reason):
        load_scene_graphs(tmp_path / "g.json")


def test_what_is_not_read_may_be_anything(tmp_path):
    text = (
        '\ufeff{"objects": ["sky"],\r\n "id": 1, "id": 2, "score": NaN, "hash": '
        + "9" * 5000
        + ', "attributes": {"a": -Infinity, "a": 1}}\r\n'
    )
    (tmp_path / "g.json").write_bytes(text.encode())
    assert load_scene_graphs(tmp_path / "g.json")[0].objects == ("sky",)


_names = st.sampled_from(["sky", "cow", "__image__", "in image", "above", "Ü\n\0", ""]) | st.text(
    max_size=70
)
_numbers = (
    st.integers(-3, 20)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from([10**400, -(10**400), 0.5])
)
_anything = st.recursive(
    st.none() | _numbers | _names,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=12,
)
_almost = st.fixed_dictionaries(
    {"objects": st.lists(_names, max_size=18) | _anything},
    optional={
        "relationships": st.lists(st.tuples(_numbers, _names, _numbers).map(list)) | _anything,
        "boxes": st.lists(st.none() | st.lists(_numbers, min_size=3, max_size=5)) | _anything,
        "patches": st.lists(st.none() | _names | _numbers) | _anything,
    },
)


@given(_anything | _almost)
@settings(max_examples=500)
def test_parser_gives_a_graph_or_bad_input_and_leaves_its_input_alone(value):
    before = repr(value)
    try:
        graph = parse_scene_graph(value)
    except BadInput as error:
        assert len(str(error)) < 400
    else:
        assert 1 <= len(graph.objects) <= 16
        assert len(graph.boxes) == len(graph.patches) == len(graph.objects)
        assert all(s != o and max(s, o) < len(graph.objects) for s, _, o in graph.relationships)
        assert len(set(graph.relationships)) == len(graph.relationships)
    assert repr(value) == before


@st.composite
def _sound_graphs(draw):
    count = draw(st.integers(1, 8))
    names = draw(st.lists(st.sampled_from(WORLD.categories), min_size=count, max_size=count))
    position = st.integers(0, count - 1)
    triple = st.tuples(position, st.sampled_from(GEOMETRIC_PREDICATES), position)
    rows = draw(st.lists(triple.filter(lambda t: t[0] != t[2]), max_size=8, unique=True))
    corner, side = st.integers(0, 511), st.integers(1, 512)  # 1024ths are exact in float32
    box = st.tuples(corner, corner, side, side).map(
        lambda v: [v[0] / 1024, v[1] / 1024, (v[0] + v[2]) / 1024, (v[1] + v[3]) / 1024]
    )
    boxes = draw(st.lists(st.none() | box, min_size=count, max_size=count))
    return {"objects": names, "relationships": [list(row) for row in rows], "boxes": boxes}


@given(_sound_graphs(), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=150)
def test_sound_graphs_survive_encoding_at_any_padding(value, more_objects, more_triples):
    before = copy.deepcopy(value)
    graph = parse_scene_graph(json.loads(json.dumps(value)))
    encoded = encode_scene_graph(graph, WORLD, 8 + more_objects, 8 + more_triples)
    decoded = decode_scene_graph(encoded["objects"], encoded["triples"], encoded["boxes"], WORLD)
    assert decoded["objects"] == value["objects"]
    assert decoded["relationships"] == value["relationships"]
    count = len(value["objects"])
    assert encoded["boxes_given"][:count].tolist() == [b is not None for b in value["boxes"]]
    for box, given_box in zip(decoded["boxes"], value["boxes"], strict=True):
        np.testing.assert_allclose(box, given_box or [0] * 4, atol=1e-6)
    assert value == before


def test_a_name_with_an_accent_is_one_name_however_it_is_written():
    together, apart = "b\u00e4ume", "ba\u0308ume"
    assert parse_scene_graph({"objects": [apart, together]}).objects == (together, together)


def test_encoding_in_hand_worked_numbers():
    encoded = encode_scene_graph(parse_scene_graph(MEADOW), WORLD, max_objects=4, max_triples=3)
    # Sorted categories from id 2: cow, grass, sky, tree.
    np.testing.assert_array_equal(encoded["objects"], [4, 3, 2, 0])
    np.testing.assert_array_equal(encoded["triples"], [[0, 3, 1], [2, 5, 1], [-1, -1, -1]])
    # (x0, y0, x1, y1) outside is [y0, x0, y1, x1] inside.
    np.testing.assert_array_equal(
        encoded["boxes"], [[0, 0, 0, 0], [0.5, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(encoded["boxes_given"], [False, True, False, False])
    np.testing.assert_array_equal(encoded["patch_ids"], [17, -1, -1, -1])
    assert encoded["patch_paths"] == [None, None, "my/cow.png", None]
    dtypes = [encoded[k].dtype for k in ("objects", "triples", "boxes", "boxes_given")]
    assert dtypes == [np.int32, np.int32, np.float32, bool]


@pytest.mark.parametrize(
    "value, reason",
    [
        ({"objects": ["sky", "gras"]}, r"objects\[1\]: unknown object 'gras'.*'grass'"),
        ({"objects": ["__padding__"]}, "added by the model"),
        (_with(relationships=[[0, "abov", 1]]), "unknown relationship 'abov'.*'above'"),
        ({"objects": ["sky"] * 5}, "5 objects, and this model takes at most 4"),
        (
            {"objects": ["sky"] * 4, "relationships": [[0, "above", i] for i in (1, 2, 3)]},
            "3 relationships, and this model takes at most 2",
        ),
    ],
)
def test_encoding_refuses_what_the_model_does_not_know(value, reason):
    with pytest.raises(BadInput, match=reason):
        encode_scene_graph(parse_scene_graph(value), WORLD, max_objects=4, max_triples=2)


def test_files_hold_one_graph_or_a_list(tmp_path):
    path = tmp_path / "g.json"
    path.write_text(json.dumps(MEADOW))
    assert load_scene_graphs(path) == [parse_scene_graph(MEADOW)]
    path.write_text(json.dumps([MEADOW, {"objects": ["sky"]}]))
    assert [len(graph.objects) for graph in load_scene_graphs(path)] == [3, 1]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "not JSON .* line 1"),
        ("[]", "1 to 1024 scene graphs, got 0"),
        ('[{"objects": ["sky"]}, {"objects": []}]', "graph 1: objects is empty"),
        ('{"objects": ["sky"], "objects": ["cow"]}', "objects: expected a list, got two values"),
        ('{"objects": ["sky"]' + " " * 2**16 + "}", "a scene graph may have at most 65536"),
        ("[" * 10_000, "nested too deeply"),
        ('{"objects": [NaN]}', "expected a name"),
    ],
)
def test_files_that_are_not_scene_graphs(tmp_path, text, reason):
    path = tmp_path / "g.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=reason):
        load_scene_graphs(path)
    with pytest.raises(BadInput, match="No such file"):
        load_scene_graphs(tmp_path / "none.json")
