"""The machine and the project's own rules underneath everything: errors, digests, files, programs, processes, progress."""
