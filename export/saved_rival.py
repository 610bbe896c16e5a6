"""Builds what is served of a run whose `training.system` is a rival."""

from __future__ import annotations

import numpy as np

from export.served.rival import ServedRival
from export.signatures import EXACT, Sizes
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.devices import grow_gpu_memory
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_sg2im_networks
from rgan_tf.registered_names import RIVALS
from rgan_tf.retrieval.bank_variables import BankArrays, ServedBank, licence_table
from rgan_tf.retrieval.index.bank_search import BankSearch
from rgan_tf.retrieval.index.in_graph import build_served_search
from rgan_tf.rivals.pastegan.selector import TEST_CANDIDATES
from rgan_tf.rivals.registry import reads_patches, rival_networks
from rgan_tf.runs import STAGES, Run, load_weights


def is_rival(run: Run) -> bool:
    """Whether the run trained another system than RetrieveGAN."""
    return run.config.training.system in RIVALS


def needs_bank(run: Run) -> bool:
    """Whether the run's system draws from patches."""
    return not is_rival(run) or reads_patches(run.config)


def check_bank_options(run: Run, name: str, options: dict[str, object]) -> None:
    """Refuses a bank, data or an index for a system that draws from no patches.

    Args:
      run: an opened run.
      name: the run as the user named it.
      options: as the user wrote them -> value, None if not given.

    Raises:
      BadInput: names the option and the system.
    """
    given = [option for option, value in options.items() if value is not None]
    if given and not needs_bank(run):
        raise BadInput(
            f"{given[0]}: run {name} is of {run.config.training.system}, which draws from no "
            "patches; leave it out"
        )


def build_served_rival(
    run: Run, bank: PatchBank | None, index: str = EXACT
) -> tuple[ServedRival, tuple[str, ...]]:
    """The `ServedRival` of a run's inference weights.

    Args:
      run: an opened run of a rival.
      bank: an opened bank that fits it; None where `needs_bank` is false.
      index: one of `export.signatures.INDICES`; matters with a bank.

    Returns:
      The model, and the licence codes of its patches in the order of their field.

    Raises:
      BadInput: if a stage is not trained, or the index is not available.
      CorruptData: if weights are damaged.
    """
    grow_gpu_memory()
    config, vocabulary, system = run.config, run.vocabulary, run.config.training.system
    networks = rival_networks(config, vocabulary)
    load_weights(run, STAGES[-1], networks, system=system)
    first_stage = None
    if bank is not None or (networks.reads_boxes and not networks.predicts_boxes):
        first_stage = build_sg2im_networks(config, vocabulary)
        load_weights(run, STAGES[0], first_stage)
    sizes = {
        "objects": config.data.max_objects,
        "triples": config.data.max_triples,
        "image": config.data.image_size,
        "num_objects": vocabulary.num_objects,
        "num_predicates": vocabulary.num_predicates,
    }
    of_patches = ("crop", "own_patch", "width", "patches", "licences", "candidates")
    if bank is None:
        none = Sizes(**sizes, **dict.fromkeys(of_patches, 0))
        return ServedRival(networks, first_stage, none), ()
    encoder = run.stage_record(STAGES[0])["weights_sha256"]
    features = BankSearch(bank, first_stage, encoder, config).features
    licences, licence_ids = licence_table(bank.rows)
    crop, candidates = config.data.crop_size, min(TEST_CANDIDATES, config.retrieval.candidates)
    arrays = BankArrays(
        graph_features=features,
        embeddings=np.zeros([len(bank), 0], np.float32),  # it knows nothing of a patch's looks
        crops=bank.all_crops(crop),
        category_ids=bank.category_ids,
        image_ids=bank.image_ids,
        licence_ids=licence_ids,
    )
    served_bank = ServedBank(arrays)
    search = build_served_search(
        index, arrays, served_bank, objects=config.data.max_objects, candidates=candidates
    )
    values = (crop, bank.crop_size, features.shape[1], len(bank), len(licences), candidates)
    full = Sizes(**sizes, **dict(zip(of_patches, values, strict=True)))
    return ServedRival(networks, first_stage, full, served_bank, search), licences
