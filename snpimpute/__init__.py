"""Imputation of missing SNP genotypes, and fair comparison of imputers."""

__version__ = "0.1.0"
