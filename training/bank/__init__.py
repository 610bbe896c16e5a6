"""What `rgan bank` does with a bank of patches, apart from prepared data."""
