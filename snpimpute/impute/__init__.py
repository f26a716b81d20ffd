"""Somebody's files: checked, imputed with a model of a whole panel, compared with the truth."""
