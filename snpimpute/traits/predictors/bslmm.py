"""Bayesian sparse linear mixed model (GEMMA): few sites have large effects, all have small ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.processes import THREAD_VARIABLES
from snpimpute.base.programs import program
from snpimpute.imputers.contract import Trial
from snpimpute.traits.exchange import NEEDED_BY, run_tool, site_numbers
from snpimpute.traits.predictors._linear import LinearPredictor
from snpimpute.traits.predictors.contract import PredictorParams

RECORDED = 10  # steps of the chain from one that is recorded to the next
WRITTEN = 1000  # recorded steps from one writing to the next


class BslmmParams(PredictorParams):
    """Parameters.

    Attributes:
        burn_in: steps of the chain that are left out.
        steps: steps after them, each tenth of which is recorded; GEMMA's own defaults are 100,000 and 1,000,000.
        most_sites: largest number of sites with a large effect.
    """

    burn_in: int = Field(5_000, ge=0)
    steps: int = Field(25_000, ge=RECORDED)
    most_sites: int = Field(300, ge=1)


class Bslmm(LinearPredictor):
    """BSLMM (Zhou, Carbonetto and Stephens 2013) by GEMMA's Markov chain: a site's effect is its small one and, times the
    probability that it has a large one, that.

    GEMMA runs once, when it learns: what it predicts for others is the sum of these effects. It knows no covariates: they are taken
    out of the trait and of the genotypes before.
    """

    description = "BSLMM: few sites have large effects, all small ones (GEMMA's Markov chain)"
    program = "gemma"
    Params = BslmmParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            most_sites=trial.suggest_int("most_sites", 10, 300, log=True),
            min_maf=trial.suggest_categorical("min_maf", (0.0, 0.01, 0.05)),
        )

    @classmethod
    def require_program(cls) -> None:
        program(cls.program, f"the predictor {cls.name}", NEEDED_BY[cls.program][1])

    def _effects(self, x: np.ndarray, left: np.ndarray) -> np.ndarray:
        p = self.params
        with work_folder("bslmm") as folder:
            with (folder / "genotypes.txt").open("w") as file:
                for j, column in enumerate(x.T):
                    file.write(f"s{j}\tA\tB\t" + "\t".join(np.char.mod("%.7g", column)) + "\n")
            np.savetxt(folder / "trait.txt", left, fmt="%.12g")
            command = ["-g", "genotypes.txt", "-p", "trait.txt", "-bslmm", "1", "-seed", str(self.seed)]
            command += ["-w", str(p.burn_in), "-s", str(p.steps), "-rpace", str(RECORDED), "-wpace", str(WRITTEN)]
            command += ["-smax", str(min(p.most_sites, x.shape[1]))]
            # sites were chosen before: GEMMA is to leave none out
            command += ["-miss", "1", "-maf", "0", "-r2", "1", "-notsnp", "-outdir", ".", "-o", "found"]
            run_tool(self.program, command, folder, dict.fromkeys(THREAD_VARIABLES, str(self.threads)))
            written = folder / "found.param.txt"
            if not written.exists():
                raise InputError("gemma failed: it wrote no effects")
            found = pd.read_csv(written, sep="\t")
        effects = np.zeros(x.shape[1])
        effects[site_numbers(found.rs.tolist())] = found.alpha + found.beta * found.gamma
        if not np.isfinite(effects).all():
            raise InputError("gemma failed: its effects are not numbers")
        return effects
