"""Measures how fast a served model answers."""
