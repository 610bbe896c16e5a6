"""Compares systems under one budget and one judge, as a table and a picture."""
