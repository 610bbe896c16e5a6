"""How the process uses the GPUs that it sees."""

from __future__ import annotations

import logging

import tensorflow as tf


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
