"""Carries the joint training step to a machine that has JAX and no TensorFlow."""
