"""The networks that draw: patches, graph vectors and boxes in, an image out.

Knows tensors and no files, and not how the patches were chosen. Imports graph alone. Begin with
`generator.py`, which calls the others in order.
"""
