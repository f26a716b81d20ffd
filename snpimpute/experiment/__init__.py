"""Experiments: settings, steps and the order of the steps."""
