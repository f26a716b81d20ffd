"""Scores of imputed genotypes against the truth."""
