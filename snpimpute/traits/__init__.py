"""Traits: what the sites of a genotype file do to them, and what imputing does to that answer."""
