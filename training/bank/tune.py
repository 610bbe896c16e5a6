"""`rgan bank tune`: tunes the search index of a bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rgan_tf.arguments import whole_number
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_sg2im_networks
from rgan_tf.progress import note
from rgan_tf.retrieval.index.bank_search import BankSearch
from rgan_tf.retrieval.index.tuning import check_recall
from rgan_tf.runs import check_bank_fits, load_weights, open_run


def tune(
    bank: str | Path, *, run: str, recall: float = 0.99, candidates: int | None = None
) -> dict[str, Any]:
    """Tunes the ScaNN index of the bank for a run, and stores it with the bank.

    Args:
      bank: bank folder.
      run: whose graph features are compared.
      recall: share of the nearest patches to be found, in (0, 1].
      candidates: K; None takes that of the run's config.

    Raises:
      BadInput: if a number is out of range, or the run does not fit the bank.
    """
    check_recall(recall)
    if candidates is not None and whole_number(candidates, "--candidates") < 1:
        raise BadInput(f"--candidates {candidates}: must be at least 1")
    trained = open_run(run)
    opened = PatchBank.open(bank)
    check_bank_fits(trained, run, opened)
    k = trained.config.retrieval.candidates if candidates is None else candidates
    if candidates is not None and k > len(opened):
        raise BadInput(f"--candidates {k}: {bank} has {len(opened)} patches; name at most those")
    networks = build_sg2im_networks(trained.config, trained.vocabulary)
    load_weights(trained, "sg2im", networks)
    search = BankSearch(
        opened,
        networks,
        trained.stage_record("sg2im")["weights_sha256"],
        trained.config,
        progress=note,
    )
    return {"bank": str(bank), **search.tune(k=k, recall=recall)}
