"""Prepared data: records of scenes with their banks, and the batches that training reads.

Turns what a reader returns into a folder, and the folder into tensors; knows no network that
learns. Imports annotations, bank, graph and retrieval; `model` and later rooms build on it. Begin
with `prepared.py`, which describes the folder, then `pipeline.py`.
"""
