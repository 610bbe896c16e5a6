"""Files and folders that appear whole or not at all, manifests with checksums, and images.

Knows bytes and nothing of scenes, banks or runs, and no TensorFlow. Imports errors and near names,
no other room; every later one may import it. Begin with `files.py`, then `manifest.py`.
"""
