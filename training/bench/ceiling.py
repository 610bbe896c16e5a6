"""The best speed of this machine, to compare a training step with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import tensorflow as tf

_REPETITIONS = 7
_SECONDS = 0.15  # minimum duration of a repetition


def measured_ceilings(precision: str = "float32") -> dict[str, float]:
    """GFLOP/s of a large matrix product and of a convolution as in the generator.

    Args:
      precision: "float32", "bfloat16" or "float16".

    Returns:
      `matmul` and `convolution`, the median of several repetitions.
    """
    kind = tf.as_dtype(precision)
    square = tf.cast(tf.random.stateless_normal([1024, 1024], [1, 2]), kind)  # [M, M]
    maps = tf.cast(tf.random.stateless_normal([16, 32, 32, 96], [3, 4]), kind)  # [B, H, W, C]
    kernel = tf.cast(tf.random.stateless_normal([3, 3, 96, 96], [5, 6]), kind)

    @tf.function
    def matmul() -> tf.Tensor:
        return tf.reduce_sum(tf.cast(tf.matmul(square, square), tf.float32))

    @tf.function
    def convolution() -> tf.Tensor:
        return tf.reduce_sum(tf.cast(tf.nn.conv2d(maps, kernel, 1, "SAME"), tf.float32))

    return {
        "matmul": 2 * 1024**3 / seconds_of(matmul) / 1e9,
        "convolution": 2 * 16 * 32 * 32 * 9 * 96 * 96 / seconds_of(convolution) / 1e9,
    }


def seconds_of(work: Callable[[], tf.Tensor], repetitions: int = _REPETITIONS) -> float:
    """Median seconds of one call; each repetition has as many calls as timing needs.

    Args:
      work: returns a tensor, which is awaited.
      repetitions: at least 1; the first call traces and does not count.
    """
    _wait(work())
    start = time.perf_counter()
    _wait(work())
    calls = max(1, int(_SECONDS / max(time.perf_counter() - start, 1e-6)))
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        for _ in range(calls):
            result = work()
        _wait(result)
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def _wait(result) -> None:
    for tensor in tf.nest.flatten(result):
        tensor.numpy()
        return
