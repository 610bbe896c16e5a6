"""Whether a network found now has the weights that made the features of a bank."""

from __future__ import annotations

import numpy as np

from rgan_tf.backbones import Backbone
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_queue import EMBEDDING_BATCH, embed_patches
from rgan_tf.errors import BadInput

_TOLERANCE = 0.05  # of the mean feature; float16 and the arithmetic of a device change far less


def check_backbone(bank: PatchBank, backbone: Backbone, advice: str = "") -> None:
    """Refuses a network of the right name with other weights; a bank does not name their file.

    Embeds a few of its patches.

    Args:
      bank: with features of a network of that name.
      backbone: the network.
      advice: what else the user can do.

    Raises:
      BadInput: if their features differ from those of the bank.
    """
    stored = np.asarray(bank.features[:EMBEDDING_BATCH], np.float32)  # [n, Dx]
    found = embed_patches(backbone, np.asarray(bank.crops[:EMBEDDING_BATCH]))  # [n, Dx]
    is_same = found.shape == stored.shape
    if not is_same or np.abs(found - stored).sum() > _TOLERANCE * np.abs(stored).sum():
        raise BadInput(
            f"{bank.folder}: its features were made with other weights of "
            f"{bank.manifest['backbone']} than those found now; name the folder of the same file "
            f"(--weights-dir){advice}"
        )
