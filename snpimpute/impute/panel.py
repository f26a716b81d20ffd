"""Panel of a fit: what is asked for, and what is read of the files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.names import require_plain
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.sources import source_digest
from snpimpute.dataset.site_lists import read_typed_sites
from snpimpute.dataset.splits import split_samples
from snpimpute.genotypes.matrix import SITE_COLUMNS, GenotypeMatrix
from snpimpute.impute.check import check_target
from snpimpute.impute.matching import PanelSites
from snpimpute.impute.scan import scan_panel
from snpimpute.impute.windows import Window, cut_by_map, cut_by_sites
from snpimpute.io.filters import SiteFilter
from snpimpute.io.maps import GeneticMap
from snpimpute.io.samples import attach_samples, left_out_of, read_samples
from snpimpute.io.spool import spool_genotypes
from snpimpute.io.stream import contents_of, holds_genotypes
from snpimpute.io.vcz import is_vcz

PILOTS = 6  # default number of windows that are measured


@dataclass(frozen=True)
class FitSettings:
    """Settings of `snpimpute fit`.

    Attributes:
        panel: VCF, BCF, VCF Zarr or PLINK file.
        name: name of the model.
        imputer: name of the imputer.
        params: parameters that differ from the imputer's defaults.
        region: region of the panel; None = all.
        samples: sample table (whole families are held out); None = none.
        window: "500" sites or "5cM"; None = as the imputer has it (`fit_window`).
        overlap: least share of a window that it has in common with the next.
        genetic_map: PLINK map, for windows in cM and for an imputer that takes a map.
        holdout: share of the samples that the model is measured on; 0 measures nothing.
        typed: sites that targets will have: a list, or a target as VCF, BCF, VCF Zarr or PLINK file, whose share of missing
            calls at each site is imitated too.
        pilots: number of windows that are measured; 0 = all.
        trials: number of trials of the study that looks for parameters, the same for all windows; 0 = no study.
        seconds: time budget of the study in seconds; None = no limit.
        seed: seed of every random choice.
        threads: processor threads.
        min_call_rate: least share of the samples that have a call at a site; sites with fewer are left out.

    Raises:
        InputError: the name is not plain (see base.names).
    """

    panel: Path
    name: str
    imputer: str
    params: Mapping[str, Any] = field(default_factory=dict)
    region: str | None = None
    samples: Path | None = None
    window: str | None = None
    overlap: float = 0.25
    genetic_map: Path | None = None
    holdout: float = 0.1
    typed: Path | None = None
    pilots: int = PILOTS
    trials: int = 0
    seconds: float | None = 600.0
    seed: int = 1
    threads: int = 1
    min_call_rate: float = SiteFilter.min_call_rate

    def __post_init__(self) -> None:
        require_plain(self.name, "the model's name")

    def window_size(self) -> str:
        """Return the size of the windows: the one given, else the imputer's own."""
        return self.window or imputers.load(self.imputer).fit_window

    def imputer_params(self) -> dict[str, Any]:
        """Return the given parameters, with the genetic map if the imputer takes one."""
        params = dict(self.params)
        if self.genetic_map is not None and "map" in imputers.load(self.imputer).Params.model_fields:
            params.setdefault("map", str(self.genetic_map.absolute()))
        return params

    def home(self, runs: Path) -> Path:
        """Return the folder of the fit, in a folder of runs."""
        return runs / "models" / f"{self.name}-{self.imputer}-panel-{self.digest()[:10]}"

    def digest(self) -> str:
        """Return the digest of all that decides the model, with the files' contents, without the number of threads."""
        others = [self.samples, self.genetic_map, self.typed]
        contents = contents_of(self.panel, self.region)
        contents += ["" if path is None else contents_of(path)[0] for path in others]
        settings = {key: value for key, value in vars(self).items() if key != "threads"}
        code = source_digest("snpimpute.impute.steps", without=imputers.DISCOVERY)
        return digest([settings, contents, code, imputers.decided_by(imputers.load(self.imputer))])


def read_panel(
    settings: FitSettings, folder: Path, watch: Watch, engine: Engine = HERE
) -> tuple[GenotypeMatrix, GeneticMap | None]:
    """Read the panel into a folder, unless it is there, and the genetic map; return both.

    Of a VCF Zarr store only the sites come into the folder: they are found on the engine, by stretches, and windows are read from the store.

    Raises:
        InputError: a file cannot be read, or a map lacks one of the panel's contigs.
    """
    genetic_map = None if settings.genetic_map is None else GeneticMap.read(settings.genetic_map)
    of_imputer = settings.imputer_params().get("map")
    maps = [genetic_map or GeneticMap(), GeneticMap() if of_imputer is None else GeneticMap.read(Path(of_imputer))]
    if not folder.exists():
        watch.stage(f"read {settings.panel.name}")
    wanted = SiteFilter(min_call_rate=settings.min_call_rate)
    if is_vcz(settings.panel):
        panel = scan_panel(settings.panel, folder, settings.region, wanted, settings.threads, watch, engine)
    else:
        panel = spool_genotypes(settings.panel, folder, region=settings.region, site_filter=wanted)
    for each in maps:
        each.require_contigs(panel.sites.contig)
    if settings.samples is not None:
        sample_table = read_samples(settings.samples)
        if others := left_out_of(sample_table, panel.names, settings.panel.name):
            watch.warn(others)
        panel = attach_samples(panel, sample_table)
    return panel, genetic_map


def cut_windows(window: str, overlap: float, sites: pd.DataFrame, genetic_map: GeneticMap | None) -> list[Window]:
    """Cut the sites into windows of a size such as "500" or "5cM"; InputError if it is not a size."""
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(cM)?", window.strip(), re.IGNORECASE)
    if size is None or (size[2] is None and "." in size[1]):
        raise InputError(f"{window!r} is no window: give a number of sites, as in 500, or a length, as in 5cM")
    if size[2]:
        return cut_by_map(sites, float(size[1]), genetic_map, overlap)
    return cut_by_sites(sites, int(size[1]), overlap)


def held_out(settings: FitSettings, panel: GenotypeMatrix) -> np.ndarray:
    """Return bool (n_samples,): the samples that the model is measured on; whole families if they are known."""
    if not 0 <= settings.holdout < 0.5:
        raise InputError(f"cannot hold out {settings.holdout:.0%} of the panel: give a share from 0% to below 50%")
    n_held = round(settings.holdout * panel.n_samples)
    if n_held == 0:
        return np.zeros(panel.n_samples, dtype=bool)
    known = "family" in panel.samples and (panel.samples["family"] != "").any()
    return split_samples(panel.samples, n_held, "family" if known else "random", settings.seed)


def missing_shares(path: Path, sites: pd.DataFrame) -> np.ndarray:
    """Return float32 (n_sites,): share of a target's calls that are missing at each site; 1 if it lacks the site.

    Sites are matched as in `impute`: contigs with or without chr, REF and ALT possibly exchanged.
    """
    if not holds_genotypes(path):
        return (~read_typed_sites(path, sites)).astype(np.float32)
    panel = PanelSites(sites[list(SITE_COLUMNS)], np.full(len(sites), np.nan))
    found = check_target(path, panel).sites
    found = found[found["panel_index"] >= 0]
    share = np.ones(len(sites), dtype=np.float32)
    share[found["panel_index"]] = 1 - found["call_rate"]
    if (share == 1).all():
        raise InputError(f"{path} has no site in common with the panel")
    if (share == 0).all():
        raise InputError(f"{path} has all of the panel's sites and calls: there would be nothing to impute")
    return share
