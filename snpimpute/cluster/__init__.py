"""Engine of a Dask cluster: steps are carried out by its workers, each in a process of its own."""
