"""The commands of `rgan` that train, measure and report, one module each; see `rgan_tf.cli`."""
