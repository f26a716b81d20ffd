"""Studies of imputers' parameters; the only package that imports Optuna."""
