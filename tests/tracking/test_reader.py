"""A store is read as it is, with the moves of aliases that were noted in it, and nothing is ever written."""

# ruff: noqa: F401, F811 (fixtures that come from another module)
from __future__ import annotations

import getpass
import hashlib
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from snpimpute.base.errors import InputError
from snpimpute.tracking.connect import tracking_uri
from snpimpute.tracking.reader import EmptyStoreError, Store
from snpimpute.tracking.runs import training_tag
from snpimpute.tracking.writer import Tracker
from tests.tracking.test_writer import aliases, elsewhere, model_folder, runs, tracker, train


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


def test_moves_are_those_that_were_noted_when_they_happened(tracker: Tracker, model_folder: Path) -> None:
    for i, (imputer, score, data) in enumerate(
        [("mode", 0.5, "d"), ("bert", 0.7, "d"), ("mode", 0.6, "d"), ("mode", 0.55, "d"), ("bert", 0.4, "e")]
    ):
        train(tracker, model_folder, str(i), imputer=imputer, score=score, dataset_digest=data * 64)
    tracker.move_champion("snpimpute-x", "1", "rollback")
    (model,) = Store(tracker.uri).registered()
    assert model.name == "snpimpute-x"
    assert [(v.number, v.imputer, v.score) for v in model.versions][:2] == [(1, "mode", 0.5), (2, "bert", 0.7)]
    assert [(m.alias, m.before, m.to) for m in model.moves] == [
        ("mode", "", "1"), ("champion", "", "1"), ("bert", "", "2"), ("champion", "1", "2"), ("mode", "1", "3"),
        ("bert", "2", "5"), ("champion", "2", "1"),
    ]  # fmt: skip
    assert model.moves[0].why == "the first"
    assert model.moves[3].why == "validation macro-F1 0.7000, before 0.5000"
    assert model.moves[-2].why == "the first on this prepared dataset"
    assert all(m.who == getpass.getuser() and abs((datetime.now(UTC) - m.when).seconds) < 600 for m in model.moves)
    last = {move.alias: move.to for move in model.moves}
    assert last == aliases(tracker) == {a: str(v.number) for v in model.versions for a in v.aliases}


def test_a_model_without_validation_or_moves_is_read(tracker: Tracker, model_folder: Path) -> None:
    train(tracker, model_folder, score=-math.inf)
    for key in tracker.client.get_registered_model("snpimpute-x").tags:
        tracker.client.delete_registered_model_tag("snpimpute-x", key)
    (model,) = Store(tracker.uri).registered()
    assert math.isnan(model.versions[0].score) and model.moves == []
    assert model.versions[0].aliases == ("champion", "mode")


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
