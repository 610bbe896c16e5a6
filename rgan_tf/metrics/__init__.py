"""The figures of evaluations, from arrays of images, features, boxes and ids.

Knows neither runs nor systems nor files of results: `training/evaluation` decides what is measured
and calls it. Imports annotations and backbones. Begin with `frechet.py`, then `bootstrap.py`.
"""
