"""Fitted imputers on a prepared dataset: posteriors at the hidden calls and their scores."""
