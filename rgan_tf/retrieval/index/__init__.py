"""The pre-filter: finds the nearest patches of a bank."""
