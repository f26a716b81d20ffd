"""PLINK 1.07 proxy imputation: a site from the haplotypes of a few linked sites, estimated in the panel."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.files import save_array
from snpimpute.base.programs import plink1_version, program, run_program
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix, numbered_samples
from snpimpute.imputers.contract import Imputer, Params, Report, Trial, Validation, Variant
from snpimpute.io.plink import write_bed

INSTALL = "Debian: apt-get install plink, which is 1.07"
REFERENCE, TARGET = "0", "1"  # phenotypes: PLINK's reference panel are the samples without one
LONGEST = 12  # most sites of a proxy haplotype: 2^13 haplotypes take PLINK minutes a site


class PlinkProxyParams(Params):
    """PLINK's parameters with its own defaults, for sites of MAF above .1 and below it.

    Attributes:
        kb: distance to either side within which proxies are searched (thousand bases).
        window: number of sites to either side that are searched.
        maxsnp: most proxies.
        rare_kb, rare_window, rare_maxsnp: the same for sites of MAF below .1.
        geno: highest share of missing calls of a proxy.
        maf: least MAF of a proxy.
    """

    kb: int = Field(250, ge=1)
    window: int = Field(15, ge=1)
    maxsnp: int = Field(5, ge=1, le=LONGEST)
    rare_kb: int = Field(500, ge=1)
    rare_window: int = Field(30, ge=1)
    rare_maxsnp: int = Field(10, ge=1, le=LONGEST)
    geno: float = Field(0.2, ge=0, le=1)
    maf: float = Field(0.005, ge=0, lt=0.5)


class PlinkProxy(Imputer):
    """Proxy imputation of PLINK 1.07 (Purcell et al. 2007), run as a program.

    The paper is "PLINK: a tool set for whole-genome association".

    Panel and target are written to one file, the panel's samples without a phenotype, which makes them PLINK's
    reference. PLINK imputes the sites that have missing calls in the target, one after the other in their order. A site
    that no target sample has is not used as a proxy: PLINK leaves it out by itself if the target is a fifth of all
    samples, but uses it if the target is smaller. The posterior is PLINK's, with three significant digits; where PLINK
    gives none (no proxy, or a sample without calls at the proxies), it is the panel's genotype frequencies. A contig
    with a single site has no proxies.

    Attributes:
        logs: command line and output of each run so far, oldest first; saved with the model as plink.log.
    """

    description = "PLINK 1.07 proxy imputation: haplotypes of a few linked sites, the panel as reference"
    Params = PlinkProxyParams
    variants: ClassVar = {"default": Variant(), "tuned": Variant(tune=True)}

    logs: list[str]
    _panel: np.ndarray  # int8 (n_samples, n_sites)

    @classmethod
    def search_space(cls, trial: Trial) -> PlinkProxyParams:
        """Return parameters of a trial: the search for proxies, whose defaults in PLINK suit dense arrays."""
        return PlinkProxyParams(
            kb=trial.suggest_int("kb", 50, 5000, log=True),
            window=trial.suggest_int("window", 5, 60, log=True),
            maxsnp=trial.suggest_int("maxsnp", 2, 8),
            rare_kb=trial.suggest_int("rare_kb", 50, 5000, log=True),
            rare_window=trial.suggest_int("rare_window", 5, 60, log=True),
            rare_maxsnp=trial.suggest_int("rare_maxsnp", 2, 10),
        )

    @classmethod
    def require_programs(cls) -> None:
        cls._program()

    @classmethod
    def program_files(cls) -> list[Path]:
        with suppress(InputError):
            return [Path(cls._program())]
        return []

    @classmethod
    def _program(cls) -> str:
        """Return the path of PLINK 1.07; InputError if it is missing."""
        return program("plink1", "imputer plink_proxy", INSTALL)

    @property
    def version(self) -> str:
        """Version that PLINK prints, from the last log; empty before the first run."""
        return plink1_version(self.logs[-1]) if self.logs else ""

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        self.logs, self._panel = [], panel.calls

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        out = np.broadcast_to(self.frequencies, (*target.calls.shape, 3)).astype(np.float32)
        contigs = self.sites["contig"].to_numpy()
        holes = (target.calls == MISSING).any(axis=0)
        for contig in dict.fromkeys(contigs):
            at = np.flatnonzero(contigs == contig)
            if len(at) > 1 and holes[at].any():
                given = self._impute(target.take_sites(at), self._panel[:, at])
                out[:, at] = np.where(np.isnan(given), out[:, at], given)
        return out

    def _impute(self, target: GenotypeMatrix, panel: np.ndarray) -> np.ndarray:
        """Return the posterior on one contig, float32 (n_samples, n_sites, 3), NaN where PLINK gives none.

        Args:
            target: the target at the contig's sites.
            panel: int8 (n_samples, n_sites), the panel's calls there.
        """
        samples = numbered_samples(p=len(panel), t=target.n_samples)
        both = GenotypeMatrix(np.concatenate([panel, target.calls]), samples, target.sites)
        names = [f"s{j}" for j in range(target.n_sites)]
        missing = target.calls == MISSING
        with work_folder("plink") as folder:
            write_bed(
                folder / "both.bed",
                both,
                site_names=names,
                contigs=["1"] * target.n_sites,  # PLINK 1.07 knows human contigs only, and a run has one
                phenotypes=[REFERENCE] * len(panel) + [TARGET] * target.n_samples,
            )
            for file, chosen in (("holes", missing.any(axis=0)), ("hidden", missing.all(axis=0))):
                (folder / f"{file}.txt").write_text("".join(f"{names[j]}\n" for j in np.flatnonzero(chosen)))
            self._run(folder)
            return _read_report(folder / "imputed.proxy.impute", target.calls.shape)

    def _run(self, folder: Path) -> None:
        """Run PLINK and keep its log; InputError in one line if it fails."""
        p = self.params
        command = [
            *(
                self._program(),
                "--noweb",
                "--bfile",
                "both",
                "--keep-allele-order",
                "--allow-no-sex",
                "--out",
                "imputed",
            ),
            *("--proxy-impute", "all", "--proxy-verbose", "--proxy-list", "holes.txt"),
            *("--proxy-exclude-list", "hidden.txt", "--proxy-geno", p.geno, "--proxy-maf", p.maf),
            *("--proxy-kb", p.kb, "--proxy-window", p.window, "--proxy-maxsnp", p.maxsnp),
            *("--proxy-b-kb", p.rare_kb, "--proxy-b-window", p.rare_window, "--proxy-b-maxsnp", p.rare_maxsnp),
        ]
        done = run_program([str(part) for part in command], cwd=folder)
        output = done.stdout + done.stderr
        self.logs.append(" ".join(map(str, command)) + "\n" + output)
        if done.returncode != 0 or not (folder / "imputed.proxy.impute").exists():
            lines = [line.strip() for line in output.splitlines() if line.strip()]
            cause = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no message")
            raise InputError(f"PLINK failed: {cause}")

    def _save(self, folder: Path) -> None:
        (folder / "plink.log").write_text("\n".join(self.logs))
        save_array(folder / "panel.npy", self._panel)

    def _load(self, folder: Path) -> None:
        self.logs = [log for log in [(folder / "plink.log").read_text()] if log]
        self._panel = np.load(folder / "panel.npy", allow_pickle=False)


def _read_report(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read the verbose report of PLINK's imputation as a posterior.

    A call's line has site, family, sample, genotype before, genotype after, and the probabilities of A1/A1, A1/A2 and
    A2/A2, all 0 if nothing was imputed; A1 is the alternate allele. Other lines are tables for human readers.

    Args:
        path: the report.
        shape: numbers of samples and sites of the target.

    Returns:
        float32 (n_samples, n_sites, 3), NaN where nothing was imputed.
    """
    out = np.full((*shape, 3), np.nan, dtype=np.float32)
    with path.open() as handle:
        for line in handle:
            parts = line.split()
            if len(parts) != 8 or parts[0][0] != "s" or parts[1][0] != "t":
                continue
            probabilities = np.array([float(part) for part in parts[:4:-1]])
            total = probabilities.sum()
            if total > 0:
                out[int(parts[1][1:]), int(parts[0][1:])] = probabilities / total
    return out
