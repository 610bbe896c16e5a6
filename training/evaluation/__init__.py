"""Evaluation of a run: image quality, layout, retrieval; each task can run alone."""
