"""Draws with a trained run: in Python, as an exported model, behind a server, on a page.

Knows requests, answers and the format of a model's folder. May import `rgan_tf`, never `training`.
Begin with `pipeline.py` (`rgan_tf.RetrieveGAN`), then `saved_model.py`.
"""
