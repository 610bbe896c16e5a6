"""The patch bank: crops with their features, scene graphs and sources, in one folder.

Knows how a bank is built, changed, opened and read by rows; not how a patch is chosen: that is
`retrieval`, which may import this room. Imports annotations and backbones. Begin with
`patch_bank.py`, which describes the files, then `build.py`.
"""
