"""Several imputed data sets: genotypes drawn from the posterior, jointly along a window where the imputer can, else call by call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from snpimpute.base.files import save_array, written_beside
from snpimpute.impute.windows import Window, owned_by
from snpimpute.io.stream import stem

MOST_DRAWS = 1000


def draws_folder(output: Path) -> Path:
    """Return the folder of the draws of an imputed file: `imputed.draws` of imputed.vcf.gz."""
    return output.with_name(f"{stem(output)}.draws")


def draw_name(output: Path, number: int) -> str:
    """Return the name of a draw, from 1: `draw-01.vcf.gz`, in the format of the imputed file."""
    return f"draw-{number:02d}{output.name[len(stem(output)) :]}"


def drawn_file(work: Path, number: int) -> Path:
    """Return the file of what a window drew; see `save_drawn`."""
    return work / "drawn" / f"{number:05d}.npy"


def save_drawn(file: Path, haplotypes: np.ndarray) -> None:
    """Write drawn haplotypes, int8 (n, n_samples, 2, n_sites), a bit an allele: uint8 (n, 2, n_sites, n_samples / 8)."""
    packed = np.packbits(haplotypes.transpose(0, 2, 3, 1).astype(bool), axis=3)
    with written_beside(file) as beside, beside.open("wb") as handle:
        save_array(handle, packed)


def drawn_windows(
    windows: Sequence[Window], contig: str, work: Path, number: int, n_samples: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a draw of a contig as `run.blend_windows` yields the posterior: all probability on what was drawn.

    At a site that several windows have, the draw is that of the window which answers for it: draws are not blended.

    Args:
        windows: all windows.
        contig: one of their contigs.
        work: the working folder.
        number: of the draw, from 1.
        n_samples: number of samples.
    """
    for place, window in enumerate(windows):
        if window.contig != contig:
            continue
        own = np.flatnonzero(owned_by(windows, place))
        if not len(own):
            continue
        part = np.load(drawn_file(work, place), mmap_mode="r", allow_pickle=False)[number - 1][:, own]
        alleles = np.unpackbits(np.ascontiguousarray(part), axis=2, count=n_samples)
        genotypes = alleles.sum(axis=0, dtype=np.int8)
        yield window.start + int(own[0]), np.stack([genotypes == 1, genotypes == 2]).astype(np.float32)


def drawn_genotypes(posterior: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each call by itself; return a posterior with all probability on what was drawn.

    Args:
        posterior: float32 (2, n_sites, n_samples), probabilities of genotypes 1 and 2.
        rng: source of random numbers.
    """
    chance = rng.random(posterior.shape[1:], dtype=np.float32)
    two = chance < posterior[1]
    one = (chance < posterior[0] + posterior[1]) & ~two
    return np.stack([one, two]).astype(np.float32)
