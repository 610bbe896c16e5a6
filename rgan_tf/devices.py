"""How the process uses the GPUs that it sees."""

from __future__ import annotations

import logging

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.registered_names import OWN_PERCEPTUAL_BACKBONES


def grow_gpu_memory() -> None:
    """Lets TensorFlow take memory of every visible GPU as it needs it, instead of all at once.

    Call it before the first tensor is made; a second call changes nothing. Does nothing without a
    GPU, and leaves a GPU alone whose memory the program has divided or limited itself. If GPUs are
    in use already, one line reports that they keep the setting they have.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            if not tf.config.experimental.get_memory_growth(gpu):
                tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError) as error:  # in use already; divided
            log = logging.getLogger(__name__)
            log.info("%s: memory growth stays as it is: %s", gpu.name, error)


def compiles(config: Config) -> bool:
    """Whether XLA compiles training steps of this config here: `training.jit_compile`.

    "auto" is yes where a GPU is visible, for the steps that tests compile: those of RetrieveGAN
    with its learned retrieval and networks of this project, where they read nothing from the host.
    It is never yes with `training.deterministic`, because XLA may choose kernels by measuring them.
    """
    settings, retrieval = config.training, config.retrieval
    if settings.jit_compile != "auto":
        return settings.jit_compile
    reads_host = (
        retrieval.candidates > retrieval.exact_candidates and not config.data.bank_on_device
    )
    is_tested = (
        settings.system == "retrievegan"
        and retrieval.choice == "learned"
        and config.losses.perceptual_backbone in OWN_PERCEPTUAL_BACKBONES
    )
    has_gpu = bool(tf.config.get_visible_devices("GPU"))
    return has_gpu and is_tested and not reads_host and not settings.deterministic
