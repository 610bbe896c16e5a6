"""Trains, evaluates, compares and reports: what `rgan` does with runs and banks.

Knows folders, stages and processes; networks and losses are in `rgan_tf`. May import `rgan_tf`,
never `export`. Begin with `api.py` (`rgan_tf.train`), then `trainer.py` and `stages`.
"""
