"""Studies that were run elsewhere, or by code that has changed since, taken up under their present names."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from snpimpute.base.errors import InputError
from snpimpute.tuning.names import StudyName
from snpimpute.tuning.storage import held_alone, open_storage, storage_error

ADOPTED = "adopted"  # attribute of a study: the name that it had, which holds the digest of the code that ran it


@dataclass(frozen=True)
class Adopted:
    """A study that was taken up: its earlier name, and its number of trials that count (complete or pruned)."""

    name: str
    trials: int


@contextmanager
def readable_journal(journal: Path) -> Iterator[Path]:
    """Yield a journal that Optuna can read: the file itself, or what a gzipped one holds, until the block ends.

    Raises:
        InputError: no such file, or not a gzipped one though its name ends in .gz.
    """
    if not journal.is_file():
        raise InputError(f"there is no journal {journal}: give the file of a study, as in runs/studies/NAME.journal")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / journal.name.removesuffix(".gz")  # also of a plain one: reading it may mend its last line
        try:
            with gzip.open(journal) if journal.suffix == ".gz" else journal.open("rb") as source, copy.open("wb") as to:
                shutil.copyfileobj(source, to)
        except (OSError, EOFError) as error:
            raise InputError(f"cannot read the journal {journal}: {error}") from None
        yield copy


def studies_in(journal: Path) -> dict[str, int]:
    """Map the name of each study in a journal (see `readable_journal`) to its number of trials that count."""
    from optuna.trial import TrialState

    try:
        storage = open_storage(str(journal))
        counted = (TrialState.COMPLETE, TrialState.PRUNED)
        return {
            study.study_name: storage.get_n_trials(study._study_id, state=counted)
            for study in storage.get_all_studies()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise storage_error(str(journal), error) from None


def adopt_study(journal: Path, storage: str, name: str) -> Adopted | None:
    """Copy the study of the same data, imputer and variant from a journal into `storage`, under its present name.

    Names of studies end in the digest of what decides a score beside the data: code, libraries, seed, threads. That is
    what may differ here; the earlier name is kept with the study. Of several such studies the one with most trials that
    count is taken. A study that was adopted before is left as it is.

    Args:
        journal: see `readable_journal`.
        storage: see StudySettings.
        name: name of the study here, as `StudyName` has it.

    Returns:
        The study that was taken up; None if the journal holds none of this data, imputer and variant.

    Raises:
        InputError: the journal or the storage cannot be used, or the study here has trials of its own.
    """
    import optuna

    wanted = StudyName.parse(name)
    found = {other: n for other, n in studies_in(journal).items() if StudyName.parse(other).asks_the_same(wanted)}
    if not found:
        return None
    best = max(found, key=lambda other: (found[other], other))
    with held_alone(storage, name):
        here = open_storage(storage)
        for study in here.get_all_studies():
            if study.study_name != name:
                continue
            if study.user_attrs.get(ADOPTED) == best:
                return Adopted(best, found[best])
            if here.get_n_trials(study._study_id):
                raise InputError(
                    f"study {name} has trials of its own: move {storage} away to adopt those of {journal.name}"
                )
            here.delete_study(study._study_id)
        optuna.copy_study(
            from_study_name=best, from_storage=open_storage(str(journal)), to_storage=here, to_study_name=name
        )
        optuna.load_study(study_name=name, storage=here).set_user_attr(ADOPTED, best)
    return Adopted(best, found[best])
