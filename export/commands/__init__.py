"""The commands of `rgan` that use a trained run, one module each; see `rgan_tf.cli`."""
