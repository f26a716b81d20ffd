"""Dashboard: pages that draw the MLflow store and the kept results; the package `snpimpute` computes what they show."""
