"""The networks that tell real images and objects from generated ones.

Knows tensors and no files; which losses follow from the verdicts is said in `losses` and
`model/judgement.py`. Imports generator and retrieval. Begin with `pixels.py`.
"""
