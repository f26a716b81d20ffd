"""Scenarios: ways of hiding calls, each with its mask, and the values at hidden calls."""

from __future__ import annotations

import numpy as np

DEFAULT_LEVELS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0)
VALIDATION_LEVELS = (10.0, 30.0, 60.0, 80.0, 90.0)
VALIDATION_CALL_LEVELS = (1.0, 5.0, 20.0)  # for datasets tested on single calls alone


class Scenario:
    """One way of hiding calls.

    The mask is kept as one bit per call.

    Args:
        split: "test" or "validation", the samples whose calls are hidden.
        mechanism: name of the registered mechanism (dataset.mechanisms).
        level: percent of the sites hidden; with mechanisms that hide single calls, percent of the calls ("high_ld": of
            the calls at sites it may hide).
        repeat: number of the mask among those of the same mechanism and level, from 0.
        hidden: bool (n_sites,), sites hidden for every sample of the split; or (n_samples, n_sites), single calls.
    """

    def __init__(self, split: str, mechanism: str, level: float, repeat: int, hidden: np.ndarray) -> None:
        self.split = split
        self.mechanism = mechanism
        self.level = level
        self.repeat = repeat
        self.n_sites = hidden.shape[-1]
        self.packed = np.packbits(hidden, axis=-1)  # uint8, eight sites a byte

    @property
    def key(self) -> str:
        """Unique name, as `test-nested-90-0`: split, mechanism, level, repeat."""
        return f"{self.split}-{self.mechanism}-{self.level:g}-{self.repeat}"

    @property
    def by_call(self) -> bool:
        """True if single calls are hidden, False if whole sites are."""
        return self.packed.ndim == 2

    @property
    def hidden(self) -> np.ndarray:
        """The mask as given: bool (n_sites,) or (n_samples, n_sites)."""
        return np.unpackbits(self.packed, axis=-1, count=self.n_sites).view(bool)

    @property
    def sites(self) -> np.ndarray:
        """The sites at which any call is hidden, bool (n_sites,)."""
        anywhere = np.bitwise_or.reduce(np.atleast_2d(self.packed), axis=0)
        return np.unpackbits(anywhere, count=self.n_sites).view(bool)


def at_hidden(values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return the entries of `values` (n_samples, n_sites, ...) at the calls that a mask hides.

    Args:
        values: array of any dtype.
        hidden: bool, (n_sites,) for whole sites or (n_samples, n_sites) for single calls.

    Returns:
        (n_samples, n_hidden_sites, ...) for whole sites; (n_hidden_calls, ...) for single calls, sample after sample.
    """
    return values[hidden] if hidden.ndim == 2 else values[:, hidden]
