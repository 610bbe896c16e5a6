"""How fast the parts are on this machine, and what each teaches: the tasks of `rgan bench`."""
