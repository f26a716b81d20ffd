"""A page each."""
