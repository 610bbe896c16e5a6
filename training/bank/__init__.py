"""The tasks of `rgan bank`."""
