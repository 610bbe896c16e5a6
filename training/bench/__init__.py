"""The tasks of `rgan bench`: speed of the parts on this machine, and effects of variants."""
