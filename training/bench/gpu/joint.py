"""The joint training step as programs of (state, batch), and TensorFlow's own first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.config import Config, changed
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.retrievegan import RetrieveGANModel
from rgan_tf.progress import note
from training.bench.gpu.hlo import Program, program_of, with_full_products
from training.bench.gpu.package import Package
from training.bench.joint_step import (
    Batch,
    build_joint_step,
    padded,
    random_table,
    training_batches,
)


def add_joint_steps(
    package: Package,
    config: Config,
    data: PreparedData,
    sizes: Sequence[int],
    *,
    batches: int,
    weights_dir: str | None,
) -> None:
    """Adds the step at every batch size, with untrained weights and random candidates.

    The smallest one has TensorFlow's figures to compare with, and is added twice: with full
    products, to be checked, and as it would be trained.

    Args:
      package: to add to.
      config: the experiment.
      data: prepared; gives the batches.
      sizes: batch sizes.
      batches: how many different ones of each size.
      weights_dir: of the perceptual backbone.
    """
    tf.keras.utils.set_random_seed(config.training.seed)
    table = random_table(config, data)
    model, _, _ = build_joint_step(config, data, table, weights_dir=weights_dir)
    variables = _state(model)
    state = [variable.numpy() for variable in variables]
    for size in sorted(sizes):
        sized = changed(config, training={"batch_size": size})
        these = list(training_batches(sized, data, table).take(batches))
        note(f"batch {size}: tracing")
        program, figures = _program(model, variables, these[0])
        facts: dict[str, Any] = {
            "batch_size": size,
            "figures": figures,
            "state": [package.keep(value) for value in state],
            "batches": [[package.keep(batch[name]) for name in sorted(batch)] for batch in these],
        }
        if size == min(sizes):
            note(f"batch {size}: TensorFlow's own step")
            exact = with_full_products(program.hlo)
            expected = _reference(model, variables, state, these[0], program)
            facts["expected"] = expected
            package.add(f"joint_{size}_check", "check", program, exact, **facts)
        package.add(f"joint_{size}", "step", program, program.hlo, **facts)


def _state(model: RetrieveGANModel) -> list[tf.Variable]:
    """All that a step changes, each once."""
    found = [model.rollback_count]
    for part in model.state().values():
        found += [part] if isinstance(part, tf.Variable) else list(part.variables)
    found += [variable for metric in model.metrics for variable in metric.variables]
    return list({id(variable): variable for variable in found}.values())


def _program(
    model: RetrieveGANModel, variables: list[tf.Variable], batch: Batch
) -> tuple[Program, list[str]]:
    """(state, batch by sorted names) -> (figures, state), and the names of the figures."""
    names = sorted(batch)
    figures: list[str] = []

    def step(*flat: tf.Tensor) -> list[tf.Tensor]:
        values, inputs = flat[: len(variables)], flat[len(variables) :]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        computed = model.train_step(dict(zip(names, inputs, strict=True)))
        figures[:] = sorted(computed)
        return [computed[name] for name in figures] + [each.read_value() for each in variables]

    arguments = [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]
    with padded(model):
        program = program_of(step, [*arguments, *(batch[name] for name in names)])
    return program, figures


def _reference(
    model: RetrieveGANModel,
    variables: list[tf.Variable],
    state: list[np.ndarray],
    batch: Batch,
    program: Program,
) -> dict[str, Any]:
    """Figures of the first step by TensorFlow's kernels, without XLA; restores the state.

    Returns:
      `figures`: in the order of the program. `changes`: of each variable the norm of its change;
      that of Adam's momentum is the gradient's.

    Raises:
      RuntimeError: if the step writes a variable that is not part of the state.
    """
    others = [value.numpy() for value in program.captured]
    computed = tf.function(model.train_step, autograph=False)(batch)
    changes = [
        float(np.linalg.norm(variable.numpy().astype(np.float64) - value))
        for variable, value in zip(variables, state, strict=True)
    ]
    for value, before in zip(program.captured, others, strict=True):
        if not np.array_equal(value.numpy(), before):
            raise RuntimeError(f"{value.name} is written by the step, and not part of its state")
    for variable, value in zip(variables, state, strict=True):
        variable.assign(value)
    return {
        "figures": [float(computed[name]) for name in sorted(computed)],
        "changes": changes,
        "variables": [variable.name for variable in variables],
    }
