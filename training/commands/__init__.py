"""The commands of `rgan` that train, evaluate and report, one module each; see `rgan_tf.cli`."""
