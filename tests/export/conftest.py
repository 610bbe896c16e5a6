"""A tiny run with random weights on a tiny world, exported once for all tests of this folder."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from export import saved_model
from export.model_folder import ModelFolder, open_model
from export.publishing.publish import publish
from export.served.model import ServedModel
from rgan_tf.config import Config
from rgan_tf.config_files import config_from_dict
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.networks import build_retrieval_networks, build_sg2im_networks
from rgan_tf.runs import Run, create_run, open_run, save_weights

TINY = {
    "name": "tiny",
    "data": {"image_size": 32, "crop_size": 16, "max_objects": 6, "max_triples": 8},
    "graph": {"width": 16, "hidden": 16, "layers": 2, "box_hidden": 16},
    "retrieval": {"candidates": 5, "embedding_sizes": [16, 8], "initial_scale": 2.0},
    "generator": {
        "crop_channels": 8,
        "refiner_layers": 1,
        "refiner_hidden": 8,
        "canvas_channels": 8,
        "canvas_blocks": 1,
        "decoder_channels": [8, 8],
        "composition": True,
        "masks": True,
        "skip": True,
    },
    "sg2im": {"layout_channels": 8, "decoder_channels": [8, 8]},
    "training": {"batch_size": 4},
}


def make_run(folder: Path, config: Config, data: PreparedData, seed: int = 3):
    """A run whose weights are random; enough for everything but good pictures."""
    tf.keras.utils.set_random_seed(seed)
    run = create_run(folder, config, data)
    save_weights(run, "sg2im", build_sg2im_networks(config, run.vocabulary), steps=0)
    networks = build_retrieval_networks(config, run.vocabulary, run.feature_size)
    networks.embedding.set_statistics(data.bank.features)
    # What starts at zero would have no say in the images.
    rng = np.random.default_rng(seed)
    generator = networks.generator
    generator.set_weights(
        [w if w.any() else 0.3 * rng.normal(size=w.shape) for w in generator.get_weights()]
    )
    save_weights(run, "retrievegan", networks, steps=0)
    return run


# As COCO writes them; patch i is under the one at i % 3.
LICENCES = (
    "Attribution License",
    "No known copyright restrictions",
    "Attribution-NonCommercial License",
)
CODES = ("public-domain", "BY", "BY-NC")  # of these, in the order of the request's field


def code_of(patch: int) -> str:
    """The licence code of a patch of the tests' bank."""
    return ("BY", "public-domain", "BY-NC")[patch % 3]


@pytest.fixture(scope="session")
def licensed_world(tiny_world) -> PreparedData:
    """The tiny world, opened anew, with patches under three licences."""
    data = PreparedData.open(tiny_world.folder)
    data.bank.rows = [
        {**row, "licence": LICENCES[number % 3]} for number, row in enumerate(data.bank.rows)
    ]
    return data


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model folder with one version, and what it was made from."""

    folder: Path
    run: Run
    data: PreparedData
    index: str
    codes = CODES
    code_of = staticmethod(code_of)

    @property
    def version(self) -> Path:
        return self.folder / "1"

    @functools.cached_property
    def model(self) -> ModelFolder:
        return open_model(self.folder)

    @functools.cached_property
    def signatures(self) -> Mapping[str, Callable]:
        """The endpoints of the model as it is loaded from its folder."""
        return tf.saved_model.load(str(self.version)).signatures

    @functools.cached_property
    def built(self) -> tuple[ServedModel, tuple[str, ...]]:
        return saved_model.build_served_model(self.run, self.data.bank, None, self.index)

    @property
    def served(self) -> ServedModel:
        """The model before it was written."""
        return self.built[0]

    @functools.cached_property
    def functions(self) -> saved_model.Functions:
        """Its endpoints in this process."""
        return self.served.functions()


def write_model(exported: Exported, check: Callable = saved_model.check_fresh) -> None:
    """Exports the run."""
    served, licences = exported.built
    parts = (exported.functions, served, licences, exported.run, exported.data.bank)
    version = publish(
        exported.folder,
        lambda folder: saved_model.write_version(folder, *parts),
        lambda folder: check(folder, parts[0], served.sizes, allow=served.search.packages),
    )
    assert version == exported.version


@pytest.fixture(scope="session")
def exported(licensed_world, made_once) -> Exported:
    """The model folder of a random run, with everything it was made from; not to be changed."""
    made = []

    def fill(folder: Path) -> None:
        run = make_run(folder / "run", config_from_dict(TINY), licensed_world)
        made.append(Exported(folder / "model", run, licensed_world, "exact"))
        write_model(made[0])

    folder = made_once("exported", fill)
    if made:
        return made[0]  # its endpoints are traced already
    return Exported(folder / "model", open_run(str(folder / "run")), licensed_world, "exact")


@pytest.fixture(scope="session")
def exported_scann(exported, tmp_path_factory) -> Exported:
    """The same run and bank, searched by ScaNN; not yet loaded by a process of its own.

    It looks into every partition, so that what it finds can be compared.
    """
    model = tmp_path_factory.mktemp("exported_scann") / "model"
    made = Exported(model, exported.run, exported.data, "scann")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rgan_tf.retrieval.index.tuning._SHARES_OF_LEAVES", (1.0,))
        write_model(made, check=lambda *_, **__: None)
    return made


@pytest.fixture
def loaded_once(exported, monkeypatch) -> None:
    """Commands get the exported model as it is loaded already: loading takes seconds."""
    load, loaded = tf.saved_model.load, SimpleNamespace(signatures=exported.signatures)

    def load_once(folder):
        return loaded if folder == str(exported.version) else load(folder)

    monkeypatch.setattr(tf.saved_model, "load", load_once)


@pytest.fixture
def ask(exported):
    """Calls an endpoint of the loaded model with NumPy arrays and returns NumPy arrays."""

    def call(endpoint: str, **fields: np.ndarray) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(value) for name, value in fields.items()}
        reply = exported.signatures[endpoint](**tensors)
        return {name: value.numpy() for name, value in reply.items()}

    return call


@pytest.fixture
def write_graph(tmp_path):
    """Writes a scene graph (any JSON value) and returns its path."""

    def write(value, name: str = "graph.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(value))
        return path

    return write
