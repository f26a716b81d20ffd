"""Python's garbage collector, asked to look less often: it visits every object of the libraries that are being loaded."""

import gc

# Objects made since the last look. At Python's own 700 it takes a fifth of the time in which MLflow or TensorFlow is
# imported. Reference counts free arrays at once all the same; only cycles wait.
NEW_OBJECTS = 50_000


def collect_seldom() -> None:
    """Let the collector of this process look for cycles once in 50,000 new objects."""
    gc.set_threshold(NEW_OBJECTS, 20, 20)
