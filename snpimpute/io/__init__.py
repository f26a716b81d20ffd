"""Genotype file formats: read as streams of records, from which matrices are built; written."""
