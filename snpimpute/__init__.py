"""snpimpute: fill the holes of SNP matrices, and compare honestly the programs that do."""

__version__ = "0.1.0"
