"""The stages of a run, one class each: three, and those of a rival."""
