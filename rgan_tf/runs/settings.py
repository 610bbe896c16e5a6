"""Which settings a resumed run may change, and the values of settings that older runs lack."""

from __future__ import annotations

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings

MAY_DIFFER = {
    "name",
    "sg2im.steps",
    "cooccurrence.steps",
    "retrieval.embedding_steps",
    "attngan.damsm_steps",
    "training.steps",
    "training.log_every_steps",
    "training.picture_every_steps",
    "training.checkpoint_every_steps",
    # These change how a step is computed, not its result.
    "training.accumulate_steps",
    "training.jit_compile",
    "training.loss_jump",
    "training.loss_upper_bound",
    "training.recompute",
    "data.bank_on_device",
}
# Settings added later, with the values that reproduce older runs. The defaults of new runs are in
# `config`. A new setting needs a line here, or no checkpoint from before it can be resumed.
ADDED_LATER = {
    "retrieval.choice": "learned",
    "discriminators.feature": False,
    "discriminators.feature_channels": 64,
    "discriminators.judged": "both",
    "losses.adversarial_feature": 0.1,
    "generator.composition": False,
    "generator.masks": False,
    "generator.skip": False,
    "retrieval.embedding_start": "random",
    "retrieval.gradient": "paper",
    "retrieval.cooccurrence_loss": "sampled",
    "retrieval.shared_pixels": True,
    "retrieval.half_size_patches": 0.0,
    "retrieval.embedding_steps": 0,
    "retrieval.embedding_scenes": 32,
    "retrieval.embedding_learning_rate": 5e-4,
    "cooccurrence.shared_pixels": True,
    "training.system": "retrievegan",
    "attngan.damsm_steps": 2000,
    "attngan.damsm_batch_size": 48,
    "attngan.damsm_learning_rate": 2e-3,
    "attngan.matching_weight": 50.0,
    "attngan.averages_words": False,
    "attngan.stages": 0,
    "training.scale_with_replicas": "none",
    "training.relit_patches": 0.0,
    "training.exchanged_patches": 0.0,
    "data.incomplete_scenes": 0.0,
    "data.redraw_relations": False,
    "data.bank_on_device": False,
}
# Settings that decide whether weights of the first two stages fit the networks at all.
SHAPES_OF_FIRST_STAGES = (
    "data.image_size",
    "data.max_",
    "graph.",
    "retrieval.backbone",
    "cooccurrence.sizes",
    "sg2im.layout_channels",
    "sg2im.decoder_channels",
)


def difference(
    old: Config, new: Config, also: tuple[str, ...] = (), only: tuple[str, ...] = ("",)
) -> str:
    """The first setting in which two configs differ, ignoring those that may change.

    Args:
      old, new: the configs.
      also: prefixes of further settings that may differ.
      only: prefixes of the settings to compare; all by default.
    """
    before, after = flat_settings(old), flat_settings(new)
    for key, value in before.items():
        if key in MAY_DIFFER or key.startswith(also) or not key.startswith(only):
            continue
        if value != after[key]:
            return f"{key} = {value}, asked for now {after[key]}"
    return ""
