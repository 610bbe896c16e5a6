"""Scene graphs as tensors: padded batches, their encoder, and the boxes predicted from it.

Knows ids, not names beyond the reserved ones, and no files. Imports the vocabulary alone. Begin
with `tensors.py`, then `encoder.py`.
"""
