"""`rgan` with all computing in float64: python in_float64.py DEVICES train ...

What n replicas compute differs from what one computes by rounding. In float32 a game of two
piecewise linear networks magnifies that a thousandfold within 20 steps, as it magnifies any other
change of the last digit, and a mistake of that size would hide in it. In float64 it cannot hide.

Nothing of the program is told about float64: its modules are handed a `tensorflow` in which
`tf.float32` is float64. Data on disk, the search index and the guard stay in float32.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
import types
from typing import Any

import tensorflow as tf

_STAY = (
    "rgan_tf.data",
    "rgan_tf.adapters",
    "rgan_tf.retrieval.index",
    "rgan_tf.retrieval.prefilter",
)
_GUARD = "rgan_tf.model.guard"


def wide(value: Any) -> Any:
    """A float32 tensor as float64; anything else as it is."""
    is_narrow = getattr(value, "dtype", None) == tf.float32
    return tf.cast(value, tf.float64) if is_narrow else value


def widened(function):
    return lambda *args, **kwargs: tf.nest.map_structure(wide, function(*args, **kwargs))


class WideTensorFlow(types.ModuleType):
    """TensorFlow, in which numbers without a type are float64, and so are those of float32."""

    float32 = tf.float64
    constant = staticmethod(widened(tf.constant))
    convert_to_tensor = staticmethod(widened(tf.convert_to_tensor))
    zeros = staticmethod(lambda shape, dtype=tf.float64: tf.zeros(shape, dtype))
    ones = staticmethod(lambda shape, dtype=tf.float64: tf.ones(shape, dtype))
    eye = staticmethod(widened(tf.eye))
    fill = staticmethod(widened(tf.fill))
    linspace = staticmethod(widened(tf.linspace))
    one_hot = staticmethod(widened(tf.one_hot))

    def __getattr__(self, name: str) -> Any:
        return getattr(tf, name)

    @staticmethod
    def where(condition, x=None, y=None):
        if x is None:
            return tf.where(condition)
        typed = hasattr(x, "dtype") or hasattr(y, "dtype")
        return tf.where(condition, x, y) if typed else wide(tf.where(condition, x, y))

    @staticmethod
    def maximum(x, y):
        return tf.maximum(x if hasattr(x, "dtype") else tf.cast(x, y.dtype), y)

    @staticmethod
    def minimum(x, y):
        return tf.minimum(x if hasattr(x, "dtype") else tf.cast(x, y.dtype), y)

    @staticmethod
    def numpy_function(function, arguments, kinds):
        kinds = [tf.float32 if kind == tf.float64 else kind for kind in kinds]
        return [wide(value) for value in tf.numpy_function(function, arguments, kinds)]


def widen_program() -> None:
    """Makes the modules of the program compute in float64."""
    from tensorflow_gan.python.losses import losses_impl

    import rgan_tf
    from rgan_tf.model import cooccurrence, networks
    from rgan_tf.model.adversarial_model import AdversarialModel
    from training.stages.retrievegan import RetrieveGANTask
    from training.stages.sg2im import Sg2imTask

    tf.keras.backend.set_floatx("float64")
    tf.keras.mixed_precision.set_global_policy("float64")
    replacement = WideTensorFlow("tensorflow")
    for found in pkgutil.walk_packages(rgan_tf.__path__, "rgan_tf."):
        if found.name.startswith(_STAY) or found.name == _GUARD:
            continue
        module = importlib.import_module(found.name)
        if getattr(module, "tf", None) is tf:
            module.tf = replacement
    for model in (AdversarialModel, cooccurrence.CooccurrenceModel):
        model.train_step = _given_wide_batches(model.train_step)
    # These are told to use float32 by name, or cast to it by themselves.
    networks._precision = lambda name: contextlib.nullcontext()
    cooccurrence.triplet_semihard = widened(cooccurrence.triplet_semihard)
    losses_impl._to_float = lambda values: tf.cast(values, tf.float64)
    # Pictures are drawn from batches of the disk, outside any step.
    for task in (Sg2imTask, RetrieveGANTask):
        task.pictures = lambda task: {}


def _given_wide_batches(train_step):
    return lambda model, batch: train_step(model, tf.nest.map_structure(wide, batch))


def main(devices: str, *words: str) -> int:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * int(devices)
    )
    from rgan_tf import cli

    widen_program()
    return cli.main(list(words))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
