"""A version of a model on disk: written, checked by a fresh process, renamed, described."""
