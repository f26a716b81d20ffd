"""The prepared dataset: source of its genotypes, held-out samples and hidden calls."""
