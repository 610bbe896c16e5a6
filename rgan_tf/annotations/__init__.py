"""Readers of data sets: files in, one `AnnotatedDataset` out. They know files and no tensors.

A reader counts by reason what it leaves out. Imports vocabulary, storage and other early rooms,
never `data` or `bank`, which read what it returns. Begin with `annotation.py`, then `coco.py`.
"""
