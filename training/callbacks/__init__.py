"""Callbacks of training, one concern per module."""
