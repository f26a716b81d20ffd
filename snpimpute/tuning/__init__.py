"""Studies of imputers' parameters: the only room that knows Optuna."""
