"""Genotype calls in memory, and consistency of calls with a pedigree."""
