"""Genotype calls in memory, and what pedigree and calls say of each other."""
