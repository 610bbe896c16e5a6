"""Finding the nearest patches of a bank: the pre-filter."""
