"""φ's own stage in a run: what the joint stage begins with, what is shared, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rgan_tf.config import changed
from rgan_tf.config_files import config_from_dict, config_to_dict
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_patch_embedding, build_retrieval_networks
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.selection import nearest_in_turn
from rgan_tf.runs import create_run, is_same_stage, load_weights, stages_of, take_stages
from training.api import train
from training.configuration import at_most


@pytest.fixture(scope="module")
def config(tiny_config):
    return changed(
        tiny_config,
        sg2im={"steps": 1},
        cooccurrence={"steps": 1},
        retrieval={"embedding_steps": 4, "embedding_scenes": 5, "half_size_patches": 0.5},
        training={"steps": 0},
    )


@pytest.fixture(scope="module")
def begun(config, tiny_world, tmp_path_factory):
    """A run whose first three stages are trained; the joint one has its first weights."""
    return train(config, tiny_world, tmp_path_factory.mktemp("begun") / "run").run


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


def test_too_many_candidates_are_refused(config):
    settings = json.loads(json.dumps(config_to_dict(config)))
    settings["retrieval"] |= {"candidates": 64, "half_size_patches": 0.0}
    with pytest.raises(BadInput, match="embedding_steps needs retrieval.candidates of at most"):
        config_from_dict(settings)
    settings["retrieval"] |= {"embedding_steps": 0, "half_size_patches": 0.5}
    with pytest.raises(BadInput, match="half_size_patches needs retrieval.candidates of at most"):
        config_from_dict(settings)
