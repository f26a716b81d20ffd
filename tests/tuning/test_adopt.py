"""Studies taken up from elsewhere: same data and row, other code; once, and never over trials of one's own."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from snpimpute.base.errors import InputError
from snpimpute.tuning.adopt import adopt_study, readable_journal, studies_in
from snpimpute.tuning.names import StudyName
from tests.tuning import objectives
from tests.tuning.test_study import counted, make_settings, run, stored

THERE = StudyName("kg15", "0123456789ab", "bert", "random", "aaaaaaaa")
HERE = StudyName("kg15", "0123456789ab", "bert", "random", "bbbbbbbb")


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gzipped journal with two studies of the same row, of 3 and 5 trials, and one of another row."""
    folder = tmp_path_factory.mktemp("there")
    for name, trials in ((f"{str(THERE)[:-8]}99999999", 3), (str(THERE), 5), (str(THERE).replace("bert", "cae"), 7)):
        settings = make_settings(folder, n_trials=trials, storage=str(folder / "all.journal"))
        run(objectives.quick, settings, name)
    packed = folder / "all.journal.gz"
    packed.write_bytes(gzip.compress((folder / "all.journal").read_bytes()))
    return packed


def test_names_are_read_as_they_are_written() -> None:
    assert StudyName.parse(str(THERE)) == THERE and THERE.asks_the_same(HERE)
    assert not THERE.asks_the_same(StudyName.parse(str(THERE).replace("0123", "9123")))
    assert not StudyName.parse("a study of others").asks_the_same(StudyName.parse("another"))
    odd = StudyName("a-b-c", "0123456789ab", "dense_emb", "with-dashes", "00000000")
    assert StudyName.parse(str(odd)) == odd


def test_an_adopted_study_goes_on_with_the_trials_that_are_wanting(journal: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, n_trials=8)
    with readable_journal(journal) as readable:
        found = adopt_study(readable, settings.storage, str(HERE))
        assert found is not None and (found.name, found.trials) == (str(THERE), 5)
        before = studies_in(readable)
    result = run(objectives.quick, settings, str(HERE))
    assert counted(result) == 8 and result.ended_by == "trials"
    assert sum(trial.first for trial in result.trials) == 1, "the published parameters are not tried twice"
    assert stored(settings, str(HERE)).user_attrs["adopted"] == str(THERE)
    with readable_journal(journal) as readable:
        assert studies_in(readable) == before, "the journal that was read is not changed"
        again = adopt_study(readable, settings.storage, str(HERE))
        assert again is not None and again.name == str(THERE), "the same command does nothing twice"
    assert studies_in(Path(settings.storage)) == {str(HERE): 8}


def test_trials_of_ones_own_are_not_written_over(journal: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, n_trials=2)
    run(objectives.quick, settings, str(HERE))
    with readable_journal(journal) as readable, pytest.raises(InputError, match="has trials of its own"):
        adopt_study(readable, settings.storage, str(HERE))
    assert studies_in(Path(settings.storage)) == {str(HERE): 2}


def test_other_data_is_not_adopted(journal: Path, tmp_path: Path) -> None:
    other = StudyName("kg15", "ffffffffffff", "bert", "random", "bbbbbbbb")
    with readable_journal(journal) as readable:
        assert adopt_study(readable, str(tmp_path / "here.journal"), str(other)) is None
    assert not (tmp_path / "here.journal").exists()


def test_what_is_no_journal_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no journal"), readable_journal(tmp_path / "none.journal"):
        pass
    (tmp_path / "torn.journal.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    with pytest.raises(InputError, match="cannot read the journal"), readable_journal(tmp_path / "torn.journal.gz"):
        pass
    (tmp_path / "text.journal").write_text("a line\nanother\n")
    with readable_journal(tmp_path / "text.journal") as readable, pytest.raises(InputError, match=r"text\.journal"):
        adopt_study(readable, str(tmp_path / "here.journal"), str(HERE))
