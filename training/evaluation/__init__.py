"""Evaluation of a run: image quality, layout, retrieval; each a task that can run alone."""
