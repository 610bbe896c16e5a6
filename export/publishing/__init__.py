"""Writes, checks, renames and describes a version of a model on disk."""
