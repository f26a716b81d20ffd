"""The prepared dataset: where its genotypes come from, who is held out, and what is hidden."""
