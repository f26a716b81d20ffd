"""A store is read as it is, promotions follow the rule that moved the aliases, and nothing is ever written."""

# ruff: noqa: F401, F811 (fixtures that come from another module)
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from snpimpute.errors import InputError
from snpimpute.store import EmptyStoreError, Store, promotions
from snpimpute.tracking import Tracker, tracking_uri, training_tag
from tests.test_tracking import aliases, elsewhere, fresh_database, model_folder, runs, tracker, train


def content(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_training_runs_are_read_and_deleted_ones_are_gone(tracker: Tracker, model_folder: Path) -> None:
    first = train(tracker, model_folder, "one", variant="<b>odd</b>", tags={"revision": "abc"})
    second = train(tracker, model_folder, "two", dataset="y")
    tracker.log_trial(
        dataset="x", study="s", imputer="mode", variant="default",
        record={"number": 0, "state": "complete", "score": 0.5, "params": {"a": 1}},
    )  # fmt: skip
    before = content(tracker.runs)
    store = Store(tracker.uri)
    found = store.training_runs()
    assert [run.run_id for run in found] == [second, first]
    odd = found[1]
    assert (odd.label, odd.dataset, odd.revision) == ("mode/<b>odd</b>", "x", "abc")
    assert odd.key_tag == training_tag("one")
    assert odd.metrics["val_f1_macro"] == 0.8 and odd.params == {"alpha": "0.1"}
    assert content(tracker.runs) == before
    tracker.client.delete_run(first)
    assert [run.run_id for run in store.training_runs()] == [second]


def test_promotions_are_those_that_moved_the_aliases(tracker: Tracker, model_folder: Path) -> None:
    for i, (imputer, score, data) in enumerate(
        [("mode", 0.5, "d"), ("bert", 0.7, "d"), ("mode", 0.6, "d"), ("mode", 0.55, "d"), ("bert", 0.4, "e")]
    ):
        train(tracker, model_folder, str(i), imputer=imputer, score=score, dataset_digest=data * 64)
    versions = Store(tracker.uri).versions()
    assert [(v.number, v.imputer, v.score) for v in versions][:2] == [(1, "mode", 0.5), (2, "bert", 0.7)]
    moves = promotions(versions)
    assert [(m.alias, m.version.number, m.before and m.before.number) for m in moves] == [
        ("mode", 1, None), ("champion", 1, None), ("bert", 2, None), ("champion", 2, 1), ("mode", 3, 1),
        ("bert", 5, 2), ("champion", 5, 2),
    ]  # fmt: skip
    assert moves[3].reason == "validation macro-F1 higher by 0.2000"
    assert moves[-1].reason == "the first on this prepared dataset"
    last = {move.alias: str(move.version.number) for move in moves}
    assert last == aliases(tracker) == {a: str(v.number) for v in versions for a in v.aliases}


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(EmptyStoreError, match="no MLflow store"):
        Store(tracking_uri(None, tmp_path / "runs"))
    assert list((tmp_path).glob("runs*")) == []
    empty = tmp_path / "mlflow.db"
    empty.touch()
    with pytest.raises(EmptyStoreError, match="is empty"):
        Store(f"sqlite:///{empty}")
    assert empty.stat().st_size == 0


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "postgresql://me:secret@127.0.0.1:9/db", "runs/mlruns", "sqlite://"]
)
def test_a_store_that_cannot_be_reached_is_one_line(uri: str) -> None:
    with pytest.raises(InputError) as told:
        Store(uri)
    assert "\n" not in str(told.value) and "secret" not in str(told.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look at" * 30)
    with pytest.raises(InputError, match="cannot be used"):
        Store(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_store_made_anew_at_the_same_place_is_read_anew(
    tracker: Tracker, fresh_database: Path, model_folder: Path
) -> None:
    train(tracker, model_folder)
    assert len(Store(tracker.uri).training_runs()) == 1
    database = tracker.runs / "mlflow.db"
    database.rename(tracker.runs / "old.db")
    database.write_bytes(fresh_database.read_bytes())
    assert Store(tracker.uri).training_runs() == []
