"""Groundwork of every room: errors, digests, files, programs, processes, progress."""
