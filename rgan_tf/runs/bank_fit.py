"""Checks whether a run can retrieve from a bank."""

from __future__ import annotations

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.errors import BadInput
from rgan_tf.registered_names import RIVALS, RULES
from rgan_tf.runs.folder import STAGES, Run


def check_bank_fits(run: Run, name: str, bank: PatchBank) -> None:
    """Refuses a patch bank that a run's networks cannot retrieve from.

    Args:
      run: an opened run.
      name: the run as the user named it.
      bank: an opened bank.

    Raises:
      BadInput: if vocabulary, backbone, sizes or number of patches do not fit.
    """
    wanted, size = run.config.retrieval.backbone, run.config.data.crop_size
    if bank.vocabulary.sha256() != run.vocabulary.sha256():
        raise BadInput(
            f"{bank.folder}: was made with another vocabulary than run {name} "
            f"({bank.vocabulary.num_objects} and {run.vocabulary.num_objects} object names); "
            f"build it with --like {name}"
        )
    if bank.manifest["backbone"] != wanted or bank.feature_size != run.feature_size:
        raise BadInput(
            f"{bank.folder}: holds features of {bank.manifest['backbone']} of width "
            f"{bank.feature_size}, run {name} reads {wanted} of width {run.feature_size}; build it "
            f"with --backbone {wanted}"
        )
    if bank.crop_size % size:
        raise BadInput(
            f"{bank.folder}: patches of {bank.crop_size} px cannot be averaged to the {size} px "
            f"that run {name} reads"
        )
    if not len(bank):
        raise BadInput(f"{bank.folder}: the patch bank is empty; add patches")


def check_learns_retrieval(run: Run, name: str) -> None:
    """Refuses a run of RetrieveGAN with a baseline retriever, whose φ was never trained.

    A rival has no φ and does not read `retrieval.choice`.

    Args:
      run: an opened run.
      name: the run as the user named it.

    Raises:
      BadInput: if `retrieval.choice` is one of `registered_names.RULES`.
    """
    rule = run.config.retrieval.choice
    if rule in RULES and run.config.training.system not in RIVALS:
        raise BadInput(
            f"--run {name}: was trained with retrieval.choice={rule}, a baseline; name a "
            "run that learned to retrieve"
        )


def check_own_retriever(run: Run, name: str, *, is_given: bool) -> None:
    """Refuses to draw with the config's retriever if the run was trained with a user's own.

    The run does not hold that retriever, and what the config names may never have been trained.

    Args:
      run: an opened run.
      name: the run as the user named it.
      is_given: whether the caller names a retriever.

    Raises:
      BadInput: if none is named and the run began with one of the user's own.
    """
    own = run.stage_record(STAGES[-1]).get("own_retriever")
    if own is not None and not is_given:
        raise BadInput(
            f"run {name}: was trained with the retriever {own}, which was passed to train; pass "
            "it again in Python (retriever=...), or train with a registered one "
            "(register_retriever), which every command finds"
        )
