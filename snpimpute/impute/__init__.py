"""Check of a user's genotype file, its imputation with a model of a whole panel, and comparison with the truth."""
