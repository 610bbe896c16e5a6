"""φ's own stage in a run: what the joint stage begins with, what is shared, what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from rgan_tf.config import changed
from rgan_tf.config_files import config_from_dict, config_to_dict
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_patch_embedding, build_retrieval_networks
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.selection import nearest_in_turn
from rgan_tf.runs import (
    create_run,
    is_same_stage,
    load_weights,
    open_run,
    save_weights,
    stages_of,
    take_stages,
)
from training.api import _learns, train
from training.configuration import at_most
from training.stages.earlier import check_comes_first, earlier_weights


@pytest.fixture(scope="module")
def config(tiny_config):
    return changed(
        tiny_config,
        retrieval={"embedding_steps": 4, "embedding_scenes": 5, "half_size_patches": 0.5},
        training={"steps": 0},
    )


@pytest.fixture(scope="module")
def begun(config, tiny_world, trained_folder, tmp_path_factory):
    """A run whose first three stages are trained; the joint one has its first weights."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    return train(config, tiny_world, folder, stages_from=trained_folder).run


def test_the_joint_stage_begins_with_what_phi_has_learned(begun, config, tiny_world):
    assert list(stages_of(config)) == ["sg2im", "cooccurrence", "embedding", "retrievegan"]
    assert begun.stage_record("embedding")["steps"] == 4
    learned = build_patch_embedding(config, begun.feature_size)
    load_weights(begun, "embedding", learned)
    # Standardised by the patches at both sizes.
    assert list((tiny_world.bank.folder / "search").glob("half-*"))
    sharp = np.asarray(tiny_world.bank.features, np.float64).mean(axis=0)
    assert np.abs(learned._mean.numpy() - sharp).max() > 1e-3
    joint = build_retrieval_networks(config, begun.vocabulary, begun.feature_size)
    fresh = [variable.numpy() for variable in joint.embedding.variables]
    load_weights(begun, "retrievegan", joint)
    for one, other in zip(learned.variables, joint.embedding.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    pairs = zip(fresh, joint.embedding.variables, strict=True)
    assert any((old != new.numpy()).any() for old, new in pairs)

    record = begun.stage_record("retrievegan")
    assert record["embedding_weights"] == begun.stage_record("embedding")["weights_sha256"]
    with pytest.raises(BadInput, match="9 steps are asked of embedding"):
        train(changed(config, retrieval={"embedding_steps": 9}), tiny_world, begun.folder)


def test_another_run_takes_the_stage_only_if_it_would_be_the_same(
    begun, config, tiny_world, tmp_path
):
    same = changed(config, retrieval={"gradient": "paper"}, training={"relit_patches": 0.5})
    other = changed(config, retrieval={"embedding_learning_rate": 1e-3})
    for wanted, is_taken in ((same, True), (other, False)):
        run = create_run(tmp_path / f"taken-{is_taken}", wanted, tiny_world)
        take_stages(run, begun)
        assert run.stage_record("sg2im")["taken_from"] == str(begun.folder)
        of_source = begun.stage_record("embedding")["weights_sha256"]
        assert run.stage_record("embedding").get("weights_sha256") == (
            of_source if is_taken else None
        )
        assert is_same_stage("embedding", wanted, config) == is_taken


@pytest.fixture
def copied(begun, tmp_path):
    """A copy of the run that a test may change."""
    return open_run(str(shutil.copytree(begun.folder, tmp_path / "copied")))


def test_a_run_with_first_stages_of_its_own_takes_none_that_was_trained_on_others(
    begun, config, tiny_world, tmp_path
):
    """It was copied all the same, and the training then refused."""
    run = create_run(tmp_path / "run", config, tiny_world)
    save_weights(run, "sg2im", build_patch_embedding(config, begun.feature_size), steps=3)
    take_stages(run, begun)
    assert run.stage_record("cooccurrence")["taken_from"] == str(begun.folder)
    assert run.stage_record("embedding") == {}


def test_a_joint_stage_that_began_without_it_gets_none(copied, config, tiny_world):
    """It would be trained, and then named in the record of a stage that never read it."""
    check_comes_first(copied)
    shutil.rmtree(copied.stage_folder("embedding"))
    # With a step to go: a finished run is left as it is.
    without = changed(config, retrieval={"embedding_steps": 0}, training={"steps": 1})
    path = copied.stage_folder("retrievegan") / "stage.json"
    record = json.loads(path.read_text())
    del record["embedding_weights"]
    path.write_text(json.dumps(record))
    create_run(copied.folder, without, tiny_world)
    with pytest.raises(BadInput, match="began without the stage embedding; set retrieval.embeddi"):
        train(config, tiny_world, copied.folder)
    assert open_run(str(copied.folder)).config == without and not record.get("steps")
    assert not copied.stage_folder("embedding").exists()
    path.unlink()  # killed before its first record
    with pytest.raises(BadInput, match="began without the stage embedding"):
        check_comes_first(copied)
    shutil.rmtree(path.parent / "checkpoints")
    check_comes_first(copied)


def test_a_record_keeps_what_the_stage_began_with(copied, config, tiny_world):
    begun_with = copied.stage_record("embedding")["weights_sha256"]
    without = changed(config, retrieval={"embedding_steps": 0}, training={"steps": 1})
    run = create_run(copied.folder, without, tiny_world)
    assert "embedding" not in stages_of(run.config)
    assert earlier_weights(run)["embedding_weights"] == begun_with
    shutil.rmtree(run.stage_folder("retrievegan"))
    assert "embedding_weights" not in earlier_weights(run)


def test_a_stage_on_which_it_was_trained_gets_no_more_steps(copied, config, tiny_world):
    """Stage 1 was trained further, for hours, before this one refused it."""
    shutil.rmtree(copied.stage_folder("retrievegan"))
    more = changed(config, sg2im={"steps": 9})
    with pytest.raises(BadInput, match="9 steps are asked of sg2im, and embedding was trained on"):
        create_run(copied.folder, more, tiny_world)
    shutil.rmtree(copied.stage_folder("embedding"))
    create_run(copied.folder, more, tiny_world)


def test_who_does_not_choose_by_phi_has_no_such_stage(config):
    for settings in (
        {"retrieval": {"choice": "nearest"}},
        {"training": {"system": "layout2im"}},
        {"retrieval": {"embedding_steps": 0}},
    ):
        assert "embedding" not in stages_of(changed(config, **settings))
    assert stages_of(at_most(config, 2))["embedding"] == 2


class Nearest(Retriever):
    name = "nearest_of_mine"

    def choose(self, candidates, options):
        return nearest_in_turn(candidates, options)


def test_a_retriever_that_does_not_learn_trains_no_phi(config, tiny_world, tmp_path, monkeypatch):
    monkeypatch.setattr("training.api.RetrieveGANTask", lambda *_, **__: None)
    begun = []
    monkeypatch.setattr(
        "training.api.Trainer.train", lambda self, task: begun.append(task) or task is not None
    )
    train(config, tiny_world, tmp_path / "run", retriever=Nearest())
    assert [task and task.name for task in begun] == ["sg2im", "cooccurrence", None]


class Watching(Nearest):
    """Learns, as it has a `retrieve` of its own; remembers φ as it is when training starts."""

    name = "watching"
    embedding = None
    seen: list[np.ndarray] | None = None

    def retrieve(self, *args, **kwargs):
        return super().retrieve(*args, **kwargs)

    def bound_to(self, embedding):
        self.embedding = embedding
        return self

    def start(self):
        self.seen = self.seen or [variable.numpy() for variable in self.embedding.variables]


def test_a_retriever_that_learns_starts_with_what_phi_has_learned(copied, config, tiny_world):
    """Else what it keeps of the first φ would be of another one."""
    shutil.rmtree(copied.stage_folder("retrievegan"))
    retriever = Watching()
    train(config, tiny_world, copied.folder, retriever=retriever)
    learned = build_patch_embedding(config, copied.feature_size)
    load_weights(copied, "embedding", learned)
    for one, other in zip(learned.variables, retriever.seen, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_retriever_that_is_handed_in_decides_whether_there_is_learning(config):
    rule = changed(config, retrieval={"choice": "nearest"})
    assert _learns(config, None) and not _learns(rule, None)
    assert _learns(rule, Watching()) and not _learns(config, Nearest())


def test_too_many_candidates_are_refused(config):
    settings = json.loads(json.dumps(config_to_dict(config)))
    settings["retrieval"] |= {"candidates": 64, "half_size_patches": 0.0}
    with pytest.raises(BadInput, match="embedding_steps needs retrieval.candidates of at most"):
        config_from_dict(settings)
    settings["retrieval"] |= {"embedding_steps": 0, "half_size_patches": 0.5}
    with pytest.raises(BadInput, match="half_size_patches needs retrieval.candidates of at most"):
        config_from_dict(settings)
