"""What a step starts, counted by hand and by the bench."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from training.bench.nodes import kernel_counts, node_counts

PROGRAM = """HloModule counted, entry_computation_layout={()->f32[4]}

%fused (param_0: f32[4]) -> f32[4] {
  %param_0 = f32[4]{0} parameter(0)
  %square = f32[4]{0} multiply(f32[4]{0} %param_0, f32[4]{0} %param_0)
  ROOT %sum = f32[4]{0} add(f32[4]{0} %square, f32[4]{0} %param_0)
}

%body (state: (s32[], f32[4])) -> (s32[], f32[4]) {
  %state = (s32[], f32[4]{0}) parameter(0)
  %values = f32[4]{0} get-tuple-element((s32[], f32[4]{0}) %state), index=1
  %next = s32[] fusion(s32[] %values), kind=kLoop, calls=%fused
  %moved = f32[4]{0} copy(f32[4]{0} %values)
  ROOT %both = (s32[], f32[4]{0}) tuple(s32[] %next, f32[4]{0} %moved)
}

%condition (state.1: (s32[], f32[4])) -> pred[] {
  %state.1 = (s32[], f32[4]{0}) parameter(0)
  ROOT %less = pred[] compare(s32[] %state.1, s32[] %state.1), direction=LT
}

%called (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %product = f32[4]{0} dot(f32[4]{0} %p, f32[4]{0} %p)
}

ENTRY %main (arg: f32[4]) -> f32[4] {
  %arg = f32[4]{0} parameter(0)
  %start = s32[] constant(0)
  %tuple = (s32[], f32[4]{0}, /*index=2*/f32[4]{0}) tuple(s32[] %start, f32[4]{0} %arg)
  %loop = (s32[], f32[4]{0}) while((s32[], f32[4]{0}) %tuple), condition=%condition, body=%body
  %end = f32[4]{0} get-tuple-element((s32[], f32[4]{0}) %loop), index=1
  %outside = f32[4]{0} custom-call(f32[4]{0} %end), custom_call_target="somewhere"
  ROOT %result = f32[4]{0} call(f32[4]{0} %outside), to_apply=%called
}
"""


def test_kernels_by_hand():
    """The fusion and the copy of the loop, the custom call, and the product that is called."""
    expected = {"fusion": 1, "copy": 1, "custom-call": 1, "dot": 1}
    assert kernel_counts(PROGRAM) == expected


def test_a_line_that_is_not_understood_is_not_skipped():
    with pytest.raises(ValueError, match="no instruction"):
        kernel_counts(PROGRAM.replace("dot(", "%("))


def test_kernels_of_a_real_program():
    @tf.function(jit_compile=True)
    def step(values):
        return tf.reduce_sum(tf.linalg.matmul(values, values) * 2.0 + 1.0)

    text = step.experimental_get_compiler_ir(tf.ones([8, 8]))(stage="optimized_hlo")
    counts = kernel_counts(text)
    assert counts["dot"] == 1 and 2 <= sum(counts.values()) <= 4


def test_nodes_by_hand():
    total = tf.Variable(0.0)
    inner = tf.function(lambda value: tf.sin(value) + 1.0)

    @tf.function(autograph=False)
    def step(values):
        first = inner(values)  # sine, sum
        first = inner(first)  # once more
        drawn = tf.map_fn(tf.cos, first)  # a loop, whose body counts once
        total.assign_add(tf.reduce_sum(tf.stop_gradient(drawn)))
        return drawn

    graph = step.get_concrete_function(tf.ones([3])).graph.as_graph_def()
    counts = node_counts(graph)
    assert counts["Sin"] == 2 and counts["Cos"] == 1
    assert counts["Sum"] == 1 and counts["AssignAddVariableOp"] == 1
    assert not {"Const", "Identity", "Placeholder", "StopGradient"} & set(counts)


@pytest.mark.thorough
def test_the_command(config_file, tiny_world, rgan):
    reply = rgan("bench", "nodes", config_file, "--data", tiny_world.folder)
    assert reply.code == 0, reply.err
    result = json.loads(reply.out)
    assert 0 < result["assignments"] < result["nodes"]
    assert sum(result["most"].values()) < result["nodes"]
    assert "xla_kernels" not in result  # nobody asked for it


def test_kernels_of_a_step_that_reads_from_the_host_are_refused(config_file, rgan):
    words = ["--data", "nowhere", "--set", "retrieval.candidates=64"]
    reply = rgan("bench", "nodes", config_file, *words, "--kernels")
    assert reply.code == 2 and "data.bank_on_device" in reply.err
    reply = rgan("bench", "nodes", config_file, *words)
    assert reply.code == 2 and "nowhere: has no manifest.json" in reply.err
