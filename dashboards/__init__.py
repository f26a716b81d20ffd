"""The dashboard: pages over the MLflow store and the kept results. They draw; whatever they show, the package computes."""
