"""The three stages of a run, one class each."""
