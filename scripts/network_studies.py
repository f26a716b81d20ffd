"""Write docs/results/networks.md and .csv: what the committed journals of the networks' studies hold.

Example:

  python scripts/network_studies.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from snpimpute.tuning.adopt import readable_journal, studies_in
from snpimpute.tuning.names import StudyName
from snpimpute.tuning.reader import SeenStudy, read_study

if TYPE_CHECKING:
    from snpimpute.tuning.reader import SeenTrial

ROOT = Path(__file__).parents[1]
JOURNALS = ROOT / "experiments" / "networks"
PAGE = ROOT / "docs" / "results" / "networks.md"
ABOVE = """# Studies of the networks

What `python scripts/network_studies.py` reads from the journals in `experiments/networks/`, one study of up to 50 trials for each
network on each dataset of `experiments/networks.toml` (random training masks; seed 1; [as CSV](networks.csv)). Scores are macro-F1 on the validation samples over
the masks of all levels: they chose the parameters, and are no test scores.

- BERT and the convolutional autoencoder: one NVIDIA H100 beside 16 processor cores, all six studies at once in 9 minutes, two to four trials
  of each at a time, Keras on PyTorch (`KERAS_BACKEND=torch`): `python scripts/studies.py experiments/networks.toml --minutes 9.35 --imputer bert
  --imputer cae --workers kg15-500:bert=4 --workers cattle-chr1:bert=3 --workers bulls:bert=3 --workers cae=2`. 2026-11-27. Studies with fewer than
  50 trials ended by the time.
- The dense autoencoder, DenseEmb, and what the convolutional one has on people after 17 trials and on cattle after 36: a thread of a machine that did
  other work too, one trial at a time, Keras on TensorFlow, 2026-11-27 and 28; minutes are not comparable. DenseEmb on cattle has a study of older
  code, which is not here.
- A trial counts if it ended, or was pruned after at least a fifth of its epochs and six of them.
- *epochs run*: of all epochs that the counting trials' schedules had; the rest is what pruning saved. *defaults*: the first trial.
  *best epoch*: of the best trial; where it is (almost) the last one, longer schedules may do better still.
- *after 15, 30 trials*: best score of the first 15 or 30 trials that were begun: what a shorter study would have found.

What they say: the defaults of BERT lose .18 on cattle, .03 on the bulls and .014 on people to what 50 trials find; those of the
convolutional autoencoder lose .11 to .14 everywhere, those of the dense one .04 to .10, of DenseEmb .014 to .017. BERT is ahead of the convolutional one on all three; on
cattle the dense one is level with BERT, on people it is .06 behind. What the winners do on test data, beside opponents that were tuned
too: [the race](race.md).
"""


def main() -> None:
    """Read every journal and write the table and the page."""
    table = studies()
    table.to_csv(PAGE.with_suffix(".csv"), index=False)
    PAGE.write_text(ABOVE + "\n" + _markdown(table) + "\n")


def studies() -> pd.DataFrame:
    """Return a row for each journal of a study of random masks."""
    return pd.DataFrame([_row(journal) for journal in sorted(JOURNALS.glob("*-random-*.journal.gz"))])


def _row(journal: Path) -> dict[str, Any]:
    """Return the row of a journal, which holds one study."""
    with readable_journal(journal) as readable:
        ((name, counted),) = studies_in(readable).items()
        study = read_study(str(readable), name)
    parts = StudyName.parse(name)
    complete = [trial for trial in study.trials if trial.score is not None]
    best = max(complete, key=lambda trial: trial.score or 0.0)
    return {
        "dataset": parts.dataset,
        "imputer": parts.imputer,
        "trials": counted,
        "pruned": sum(trial.state == "pruned" for trial in study.trials),
        "minutes": round(study.seconds / 60, 1),
        "epochs_run": round(_share_of_epochs(study), 2),
        "default": study.trials[0].score,
        "best": best.score,
        "best_trial": best.number,
        "best_epoch": _best_epoch(best),
        "epochs": best.suggested.get("epochs"),
        "after_15": _best_of_first(complete, 15),
        "after_30": _best_of_first(complete, 30),
    }


def _best_epoch(trial: SeenTrial) -> int:
    """Return the epoch, counted from 1, after which the validation score was highest."""
    return 1 + max(trial.intermediate, key=lambda epoch: trial.intermediate[epoch])


def _best_of_first(trials: list[SeenTrial], n: int) -> float:
    """Return the best score among the first n trials of the study, in the order in which they were begun."""
    return max(trial.score or 0.0 for trial in trials if trial.number < n)


def _share_of_epochs(study: SeenStudy) -> float:
    """Return the epochs that counting trials ran, divided by those that their schedules had."""
    counting = [trial for trial in study.trials if trial.state in ("complete", "pruned")]
    return sum(len(t.intermediate) for t in counting) / sum(t.suggested["epochs"] for t in counting)


def _markdown(table: pd.DataFrame) -> str:
    head = "| dataset | imputer | trials (pruned) | minutes | epochs run | defaults | best | of trial | best epoch | after 15, 30 trials |"
    lines = [head, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {row.dataset} | {row.imputer} | {row.trials} ({row.pruned}) | {row.minutes:.1f} | {row.epochs_run:.0%} "
        f"| {row.default:.4f} | {row.best:.4f} | {row.best_trial} | {row.best_epoch} of {row.epochs} "
        f"| {row.after_15:.4f}, {row.after_30:.4f} |"
        for row in table.itertuples()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
