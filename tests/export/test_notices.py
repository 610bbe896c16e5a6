"""What `rgan generate` tells of patches, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from export.notices import PatchNotices
from rgan_tf.bank.licences import LicenceFilter

SKY, TREE = {"category": "sky", "licence": "cc0"}, {"category": "tree", "licence": "CC BY 4.0"}


def model(contract=4):
    return SimpleNamespace(
        provenance=[SKY, TREE, TREE],
        avoids_repeats=contract >= 4,
        reads_patches=True,
        rival=None,
    )


def item(category, patch_id, taken=None, chosen_by="model", same=()):
    patch = {"id": patch_id, "category": taken or category, "chosen_by": chosen_by}
    found = taken in (None, category)
    return {
        "category": category,
        "category_found": found,
        "patch": patch,
        "same_patch_as": list(same),
    }


def sample(*objects, graph=0, repeats_allowed=False):
    return {"graph": graph, "objects": list(objects), "repeats_allowed": repeats_allowed}


def told(notices, caplog):
    caplog.clear()
    notices.log()
    return [record.getMessage() for record in caplog.records]


def test_nothing_is_told_where_all_is_as_it_should_be(caplog):
    notices = PatchNotices(model(), LicenceFilter())
    own = {"category": "tree", "category_found": True, "same_patch_as": []}
    own["patch"] = {"id": None, "path": "mine.png", "chosen_by": "user"}
    notices.add(sample(item("sky", 0), item("tree", 1), own))
    assert notices.result() == {"fallbacks": 0, "other_category": [], "same_patch": []}
    assert told(notices, caplog) == []


def test_other_categories_are_named_and_counted(caplog):
    notices = PatchNotices(model(), LicenceFilter())
    for patch, taken in ((0, "sky"), (1, "tree"), (2, "tree")):
        notices.add(sample(item("car", patch, taken), item("sky", 1, "tree", "user"), graph=3))
    assert notices.result()["fallbacks"] == 3
    common = {"graph": 3, "object": 0, "wanted": "car", "chosen_by": "model"}
    assert notices.result()["other_category"] == [
        {**common, "taken": "sky", "samples": 1},
        {"graph": 3, "object": 1, "wanted": "sky", "taken": "tree", "chosen_by": "user"}
        | {"samples": 3},
        {**common, "taken": "tree", "samples": 2},
    ]
    assert told(notices, caplog) == [
        "graph 3: object 0 (car) got a patch of sky: the model has no patch of car",
        "graph 3: object 1 (sky) has a patch of tree, as the graph says",
        "graph 3: object 0 (car) got a patch of tree in 2 samples: the model has no patch of car",
    ]


def test_the_reason_knows_licences_and_models_of_an_earlier_version(caplog):
    notices = PatchNotices(model(), LicenceFilter.parse(["BY"]))
    notices.add(sample(item("sky", 1, "tree")))
    (line,) = told(notices, caplog)
    assert line.endswith(": the model has no patch of sky under BY")
    notices = PatchNotices(model(contract=3), LicenceFilter())
    notices.add(sample(item("sky", 1, "tree")))
    (line,) = told(notices, caplog)
    assert line.endswith(" fills up with others; export it again")


@pytest.mark.parametrize(
    ("contract", "allowed", "line"),
    [
        (
            4,
            False,
            "graph 0: objects 0, 2 (tree) got one patch: none of their other candidates was free",
        ),
        (4, True, None),
        (
            3,
            True,
            "graph 0: objects 0, 2 (tree) got one patch: the model is of an earlier version and "
            "lets patches repeat; export it again",
        ),
    ],
)
def test_one_patch_for_two_objects(caplog, contract, allowed, line):
    notices = PatchNotices(model(contract), LicenceFilter())
    notices.add(
        sample(
            item("tree", 1, same=[2]),
            item("sky", 0),
            item("tree", 1, same=[0], chosen_by="user"),
            repeats_allowed=allowed,
        )
    )
    assert notices.result()["same_patch"] == [
        {"graph": 0, "objects": (0, 2), "categories": ("tree", "tree"), "samples": 1}
    ]
    assert told(notices, caplog) == ([line] if line else [])


def test_a_patch_that_the_user_names_twice_gets_no_notice(caplog):
    notices = PatchNotices(model(), LicenceFilter())
    twice = [item("tree", 1, chosen_by="user", same=[other]) for other in (1, 0)]
    notices.add(sample(*twice))
    assert notices.result()["same_patch"] == [] and told(notices, caplog) == []


def test_many_lines_end_with_how_many_more(caplog):
    notices = PatchNotices(model(), LicenceFilter())
    for graph in range(25):
        notices.add(sample(item("car", 0, "sky"), graph=graph))
    lines = told(notices, caplog)
    assert len(lines) == 21 and lines[-1] == "and 5 more of this kind; the result lists all"
