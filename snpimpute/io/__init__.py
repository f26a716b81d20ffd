"""Genotype file formats: streams of records, matrices built from them, and writers."""
