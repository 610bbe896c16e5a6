"""Systems under one budget and one judge, as one table and one picture."""
