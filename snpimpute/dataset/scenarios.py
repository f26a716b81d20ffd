"""A scenario: one way of hiding calls, and what lies at the calls that it hides."""

from __future__ import annotations

import numpy as np

DEFAULT_LEVELS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0)
VALIDATION_LEVELS = (10.0, 30.0, 60.0, 80.0, 90.0)
VALIDATION_CALL_LEVELS = (1.0, 5.0, 20.0)  # of datasets that are tested on single calls alone


class Scenario:
    """One way of hiding calls. The mask is kept a bit per call.

    Args:
        split: "test" or "validation": whose calls are hidden.
        mechanism: name of the registered mechanism (dataset.mechanisms).
        level: percent hidden of the sites; of single-call mechanisms percent of the calls ("high_ld": of the calls at
            the sites it may hide).
        repeat: number of the mask among those of the same mechanism and level, from 0.
        hidden: bool (n_sites,): sites hidden for every sample of the split; or (n_samples, n_sites): single calls.
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
        return f"{self.split}-{self.mechanism}-{self.level:g}-{self.repeat}"

    @property
    def by_call(self) -> bool:
        """Whether single calls are hidden, not whole sites."""
        return self.packed.ndim == 2

    @property
    def hidden(self) -> np.ndarray:
        """The mask, as it was given."""
        return np.unpackbits(self.packed, axis=-1, count=self.n_sites).view(bool)

    @property
    def sites(self) -> np.ndarray:
        """bool (n_sites,): the sites at which any call is hidden."""
        anywhere = np.bitwise_or.reduce(np.atleast_2d(self.packed), axis=0)
        return np.unpackbits(anywhere, count=self.n_sites).view(bool)


def at_hidden(values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """What `values` (n_samples, n_sites, ...) hold at the calls that a mask hides.

    Args:
        values: of any kind.
        hidden: bool, (n_sites,) for whole sites or (n_samples, n_sites).

    Returns:
        (n_samples, n_hidden_sites, ...) of whole sites; (n_hidden_calls, ...) of single calls, sample after sample.
    """
    return values[hidden] if hidden.ndim == 2 else values[:, hidden]
