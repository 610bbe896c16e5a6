"""Builds and writes the SavedModel of a run and a bank, and checks it in another process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.model_folder import EXTRA, write_extra
from export.publishing import fresh_check
from export.publishing.model_card import MODEL_CARD_FILE, model_card, read_newest_metrics
from export.publishing.publish import check_destination, publish
from export.publishing.serving_files import (
    check_name,
    check_serving_folder,
    write_serving_files,
)
from export.publishing.warmup import write_warmup
from export.saved_rival import build_served_rival, is_rival
from export.served.model import ServedModel
from export.served.rival import ServedRival
from export.signatures import (
    DEFAULT_NAME,
    EXACT,
    INDICES,
    PATCHES,
    VERSION,
    Endpoints,
    Sizes,
    endpoints_of,
    example_request,
)
from rgan_tf.backbones import load_backbone
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.same_weights import check_backbone
from rgan_tf.config_files import config_to_yaml
from rgan_tf.devices import grow_gpu_memory
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_retrieval_networks, build_sg2im_networks
from rgan_tf.progress import note
from rgan_tf.refusals import naming
from rgan_tf.retrieval.bank_variables import BankArrays, ServedBank, licence_table
from rgan_tf.retrieval.index.bank_search import BankSearch
from rgan_tf.retrieval.index.in_graph import build_served_search
from rgan_tf.retrieval.patch_library import embed_bank
from rgan_tf.retrieval.registry import retriever_for
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.runs import Run, load_weights, stages_of
from rgan_tf.storage.files import write_bytes_atomic

_CHECK_TIMEOUT_S = 900
_CHECK_BATCHES = (1, 2, 2, 1, 2, 1, 2)
_IDS = ("patch_ids", "candidate_ids", "neighbour_ids")
_PIXEL_TOLERANCE = 1  # of 255; another process may sum in another order

Functions = Mapping[str, tf.types.experimental.GenericFunction]  # endpoints by name


def export_run(
    run: Run,
    bank: PatchBank | None,
    out: str | Path,
    *,
    index: str = EXACT,
    name: str = DEFAULT_NAME,
    weights_dir: str | Path | None = None,
    retriever: Retriever | None = None,
) -> dict[str, Any]:
    """Writes a run with a bank as a new version of a model, and checks it in another process.

    Args:
      run: an opened run that learned to retrieve.
      bank: an opened bank that fits it; None for a rival that draws from no patches.
      out: model folder; gets a new version in it.
      index: one of `export.signatures.INDICES`: how the model searches its bank.
      name: of the model for clients, in the server's files.
      weights_dir: folder with backbone weight files.
      retriever: chooses the patches; None takes that of the run.

    Returns:
      `version`, `path`, `index`, `serving`, `patches`, `megabytes`.

    Raises:
      BadInput: if the folder is taken, or the index is not known or not available.
    """
    if index not in INDICES:
        raise BadInput(f"--index {index}: must be one of {', '.join(INDICES)}")
    check_name(name)
    check_destination(out)
    check_serving_folder(out)
    served: ServedModel | ServedRival
    if is_rival(run):
        served, licences = build_served_rival(run, bank, index)
    else:
        served, licences = build_served_model(run, bank, weights_dir, index, retriever)
    endpoints = served.endpoints if is_rival(run) else None
    packages = served.search.packages if bank is not None else ()
    functions = served.functions()

    def check(folder: Path) -> None:
        note("checking the model in a process of its own")  # half a minute without a word
        check_fresh(folder, functions, served.sizes, packages, endpoints)

    version = publish(
        out, lambda folder: write_version(folder, functions, served, licences, run, bank), check
    )
    # The stock image lacks ScaNN's operations: its files would start a server that fails.
    serving = write_serving_files(out, name) if index == EXACT else None
    total = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    return {
        "version": int(version.name),
        "path": str(version),
        "system": run.config.training.system,
        "index": None if bank is None else index,
        "serving": serving,
        "patches": served.sizes.patches,
        "megabytes": round(total / 1e6, 1),
    }


def build_served_model(
    run: Run,
    bank: PatchBank,
    weights_dir: str | None,
    index: str = EXACT,
    retriever: Retriever | None = None,
) -> tuple[ServedModel, tuple[str, ...]]:
    """The `ServedModel` of a run's inference weights with the patches of a bank.

    Args:
      run: an opened run.
      bank: an opened bank that fits it.
      weights_dir: folder with backbone weight files, or None.
      index: one of `export.signatures.INDICES`.
      retriever: chooses the patches; None takes that of the run.

    Returns:
      The model, and the licence codes of its patches in the order of its field.

    Raises:
      BadInput: if the index is not available, or does not suit the bank, or the features of the
        bank were made with other weights.
    """
    grow_gpu_memory()
    config, vocabulary = run.config, run.vocabulary
    prefilter = build_sg2im_networks(config, vocabulary)
    load_weights(run, "sg2im", prefilter)
    networks = build_retrieval_networks(config, vocabulary, run.feature_size)
    load_weights(run, "retrievegan", networks)
    backbone = load_backbone(config.retrieval.backbone, weights_dir)
    check_backbone(bank, backbone)  # it will embed the patches of requests, to compare with these
    logging.getLogger(__name__).info("embedding %d patches", len(bank))
    encoder = run.stage_record("sg2im")["weights_sha256"]
    features = BankSearch(bank, prefilter, encoder, config).features
    retriever = (retriever or retriever_for(config)).bound_to(networks.embedding)
    no_relations = np.zeros([len(bank), 0], np.float32)  # serving does not need them
    reader = PatchReader(bank, no_relations, crop_size=config.data.crop_size)
    licences, licence_ids = licence_table(bank.rows)
    arrays = BankArrays(
        graph_features=features,
        embeddings=embed_bank(retriever, reader),
        crops=bank.all_crops(config.data.crop_size),
        category_ids=bank.category_ids,
        image_ids=bank.image_ids,
        licence_ids=licence_ids,
    )
    sizes = Sizes(
        objects=config.data.max_objects,
        triples=config.data.max_triples,
        crop=config.data.crop_size,
        own_patch=bank.crop_size,
        image=config.data.image_size,
        width=features.shape[1],
        patches=len(bank),
        num_objects=vocabulary.num_objects,
        num_predicates=vocabulary.num_predicates,
        licences=len(licences),
        candidates=config.retrieval.candidates,
    )
    served_bank = ServedBank(arrays)
    served = ServedModel(
        prefilter=prefilter,
        networks=networks,
        feature_network=backbone.feature_network,
        bank=served_bank,
        search=build_served_search(
            index,
            arrays,
            served_bank,
            objects=sizes.objects,
            candidates=config.retrieval.candidates,
        ),
        retriever=retriever,
        sizes=sizes,
    )
    return served, licences


def write_version(
    folder: Path, functions: Functions, served, licences: tuple[str, ...], run, bank
) -> None:
    """Writes the SavedModel and the files that accompany it.

    Args:
      folder: of the version.
      functions: the endpoints.
      served: `ServedModel` or `ServedRival`.
      licences: codes of the patches.
      run: what it was made from.
      bank: its patches; None for a rival without.
    """
    endpoints = served.endpoints if is_rival(run) else None
    write_saved_model(folder, functions)
    write_warmup(folder, served.sizes, (endpoints or endpoints_of(VERSION)).inputs)
    search = {} if bank is None else served.search.describe()
    rows = [] if bank is None else bank.rows
    fingerprint = None if bank is None else bank.fingerprint
    card = model_card(
        config_name=run.config.name,
        sizes=served.sizes,
        vocabulary=run.vocabulary,
        weights=run.fingerprint(),
        steps={
            stage: run.stage_record(stage)["steps"]
            for stage in stages_of(run.config)
            if run.stage_record(stage)
        },
        data_fingerprint=run.data_fingerprint,
        bank_fingerprint=fingerprint,
        patch_licences=(row.get("licence") or "" for row in rows),
        index=search.get("index"),
        metrics=read_newest_metrics(run.folder),
        system=run.config.training.system,
        endpoints=endpoints,
    )
    write_bytes_atomic(folder / EXTRA / MODEL_CARD_FILE, card.encode("utf-8"))
    write_extra(
        folder,
        vocabulary=run.vocabulary,
        sizes=served.sizes,
        scale=served.scale,
        licences=licences,
        config_yaml=config_to_yaml(run.config),
        provenance=rows,
        system=run.config.training.system,
        endpoints=endpoints,
        origin={
            "config": run.config.name,
            "weights": run.fingerprint(),
            "bank": fingerprint,
            **search,
        },
    )


def write_saved_model(folder: Path, functions: Functions) -> None:
    """Writes endpoints as the signatures of a SavedModel.

    It tracks the variables that they use and not the layers: a tracked layer that reads
    GraphTensors would need tensorflow_gnn for loading. Concrete functions are not traced again by
    `tf.saved_model.save`, as the functions of a `tf.keras.export.ExportArchive` are.

    Args:
      folder: gets the model.
      functions: with input signatures; traced unless they are already.
    """
    traced = {name: function.get_concrete_function() for name, function in functions.items()}
    used = {v.ref(): v for function in traced.values() for v in function.graph.variables}
    tracked = tf.Module()
    tracked.used_variables = list(used.values())
    tf.saved_model.save(tracked, str(folder), signatures=traced)


def check_fresh(
    folder: Path,
    functions: Functions,
    sizes,
    allow: tuple[str, ...] = (),
    endpoints: Endpoints | None = None,
) -> None:
    """Loads the version in another process with TensorFlow alone and compares its answers.

    Args:
      folder: of the version.
      functions: the endpoints in this process.
      sizes: of the model.
      allow: further packages that the other process may import, and imports before loading.
      endpoints: of a rival; None takes RetrieveGAN's.

    Raises:
      CheckFailed: if it fails or its answers differ from those of this process.
      BadInput: if that process was killed.
    """
    checked = endpoints or endpoints_of(VERSION)
    inputs, outputs = checked.inputs, checked.outputs
    requests = {
        f"{endpoint}/{field}": value
        for endpoint, batch in zip(inputs, _CHECK_BATCHES[: len(inputs)], strict=True)
        for field, value in example_request(endpoint, sizes, batch, inputs[endpoint]).items()
    }
    with tempfile.TemporaryDirectory() as scratch:
        paths = [str(Path(scratch) / name) for name in ("requests.npz", "replies.npz")]
        with naming(paths[0]):
            np.savez(paths[0], **requests)
        command = [sys.executable, "-I", fresh_check.__file__, str(folder), *paths]
        command += [option for package in allow for option in ("--allow", package)]
        # As `grow_gpu_memory`, which that process cannot import, unless the user says otherwise.
        environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_CHECK_TIMEOUT_S,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"no answer within {_CHECK_TIMEOUT_S} s") from error
        if done.returncode < 0:  # most likely for lack of memory
            raise BadInput(
                f"the process that checks the written model was killed (signal "
                f"{-done.returncode}); free some memory and repeat"
            )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise CheckFailed(lines[-1])
        with np.load(paths[1], allow_pickle=False) as arrays:
            replies = {name: arrays[name] for name in arrays.files}

    for endpoint in inputs:
        request = {
            name.split("/")[1]: value
            for name, value in requests.items()
            if name.startswith(f"{endpoint}/")
        }
        expected = functions[endpoint](
            *(tf.constant(request[field.name]) for field in inputs[endpoint])
        )
        names = {field.name for field in outputs[endpoint]}
        for name in names.intersection(_IDS):
            if not np.array_equal(replies[f"{endpoint}/{name}"], expected[name].numpy()):
                raise CheckFailed(f"{endpoint} retrieves other patches there")
        if "boxes" in names and not np.allclose(
            replies[f"{endpoint}/boxes"], expected["boxes"].numpy(), atol=1e-4
        ):
            raise CheckFailed(f"{endpoint} places the objects differently")
        if endpoint == PATCHES:
            contents = expected["patch_crops_bytes"].numpy().ravel()
            found = [replies[f"{endpoint}/patch_crops_bytes/{i}"] for i in range(len(contents))]
            if [array.tobytes() for array in found] != contents.tolist():
                raise CheckFailed(f"{endpoint} has other pixels there")
        if "image_bytes" not in names:
            continue
        for row, content in enumerate(expected["image_bytes"].numpy()):
            local = tf.io.decode_png(content).numpy().astype(int)
            fresh = tf.io.decode_png(replies[f"{endpoint}/image_bytes/{row}"].tobytes()).numpy()
            if np.abs(local - fresh).max() > _PIXEL_TOLERANCE:
                raise CheckFailed(f"{endpoint} makes a different image")


class CheckFailed(RuntimeError):
    """A written version must not be published; a bug, not the user's mistake."""

    def __init__(self, reason: str):
        super().__init__(f"the exported model does not work in another process: {reason}")
