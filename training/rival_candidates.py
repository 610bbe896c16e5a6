"""The candidates of rivals that draw from patches: RetrieveGAN's, by the same first stage."""

from __future__ import annotations

from collections.abc import Mapping

from rgan_tf.data.prepared import PreparedData
from rgan_tf.progress import note
from rgan_tf.rivals.pastegan.candidates import NearestPatches
from rgan_tf.runs import Run
from training.first_stages import load_first_stages


def rival_candidates(
    run: Run, data: PreparedData, counts: Mapping[str, int]
) -> dict[str, NearestPatches]:
    """The nearest patches of every object of some splits; none of another category.

    Args:
      run: with trained first stages, whose graph features decide.
      data: its bank holds the patches.
      counts: split -> candidates per object.

    Raises:
      BadInput: if a stage is not trained.
      CorruptData: if weights are damaged.
    """
    tables = load_first_stages(run).candidates(
        run.config,
        data,
        counts,
        progress=note,
        masks_others=True,
    )
    return {
        split: NearestPatches(tables[split], data.truth(split), data.bank, count=count)
        for split, count in counts.items()
    }
