"""Models from elsewhere: nothing in them is run unasked, what was changed in them is named, and names stay in their folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from snpimpute import imputers
from snpimpute.base.checksums import TABLE, require_checksums, write_checksums
from snpimpute.base.errors import InputError
from snpimpute.base.names import is_plain
from snpimpute.dataset.prepared import LAYOUT, read_about
from snpimpute.experiment.settings import name_of, parse
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.asked import ImputeSettings
from snpimpute.impute.fit import FitSettings, write_model
from snpimpute.impute.run import impute_file
from snpimpute.impute.windows import WindowedModel, cut_by_sites
from snpimpute.imputers._external import described
from snpimpute.imputers.mode import Mode
from snpimpute.imputers.testing import small_panel
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf

TELLTALE = """
description = "leaves a trace, and calls 0/0"
program = {{ name = "sed", install = "", version = "touch {trace}" }}
run = {{ impute = ["touch {trace}", "gunzip -c {{target}} | {{program}} 's#\\\\./\\\\.#0/0#g' > imputed.vcf"] }}
output = {{ file = "imputed.vcf", field = "GT" }}
"""


@pytest.fixture(scope="module")
def panel() -> GenotypeMatrix:
    return small_panel(30, n_sites=30, missing=0.0)


def saved(panel: GenotypeMatrix, folder: Path, cls: type) -> Path:
    """A model of two windows, as `fit` leaves it."""
    windows = cut_by_sites(panel.sites, 20)
    for number, window in enumerate(windows):
        cls().fit(panel.take_sites(window.sites)).save(WindowedModel.place(folder, number))
    about = {"name": "calves", "imputer": cls.name, "params": {}, "panel_digest": "0" * 64}
    write_model(folder, about, panel.sites.assign(alt_frequency=panel.alt_frequency()), windows)
    return folder


@pytest.fixture
def model(panel: GenotypeMatrix, tmp_path: Path) -> Path:
    return saved(panel, tmp_path / "model", Mode)


class TestCommands:
    """A model whose description would leave a trace if it were run."""

    @pytest.fixture
    def trace(self, tmp_path: Path) -> Path:
        return tmp_path / "trace"

    @pytest.fixture
    def text(self, trace: Path) -> str:
        return TELLTALE.format(trace=trace)

    @pytest.fixture
    def model(self, panel: GenotypeMatrix, tmp_path: Path, text: str) -> Path:
        return saved(panel, tmp_path / "given", described("telltale", text, "telltale.toml"))

    @pytest.fixture
    def settings(self, panel: GenotypeMatrix, tmp_path: Path, model: Path) -> ImputeSettings:
        target = panel.hide(np.arange(panel.calls.size).reshape(panel.calls.shape) % 7 == 0)
        write_vcf(tmp_path / "target.vcf.gz", target)
        return ImputeSettings(tmp_path / "target.vcf.gz", tmp_path / "imputed.vcf.gz", model)

    def test_they_are_not_run_unless_they_are_trusted(self, settings, trace, tmp_path) -> None:
        with pytest.raises(
            InputError, match=r"would run commands of its own \(of sed, in .*description.toml\).*--trust"
        ):
            impute_file(settings, tmp_path / "runs")
        assert not trace.exists() and not (tmp_path / "imputed.vcf.gz").exists()
        impute_file(ImputeSettings(settings.target, settings.output, settings.model, trust=True), tmp_path / "runs")
        imputed, _ = read_matrix(tmp_path / "imputed.vcf.gz")
        assert trace.exists() and (imputed.calls >= 0).all()

    def test_those_of_this_machine_are_run(self, panel, model, text, trace, tmp_path, monkeypatch) -> None:
        mine = tmp_path / "mine" / "telltale.toml"
        mine.parent.mkdir()
        monkeypatch.setenv("SNPIMPUTE_IMPUTERS", str(mine.parent))
        mine.write_text(text.replace("0/0#g", "1/1#g"))
        with pytest.raises(InputError, match="not those of an imputer telltale on this machine"):
            WindowedModel.verified(model)
        mine.write_text(f"# a remark\n{text}")
        opened = WindowedModel.verified(model)
        assert not trace.exists()
        opened.posterior(panel.hide(np.arange(panel.calls.size).reshape(panel.calls.shape) % 7 == 0))
        assert trace.exists()

    def test_a_description_under_the_name_of_an_imputer_of_ours_is_not_run(self, model, trace) -> None:
        for place in (model / "windows").iterdir():
            about = json.loads((place / "imputer.json").read_text())
            (place / "imputer.json").write_text(json.dumps({**about, "imputer": "mode"}))
            write_checksums(place)
        write_checksums(model)
        with pytest.raises(InputError, match="would run commands of its own"):
            WindowedModel(model).imputer(1)
        assert not trace.exists()


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(change((folder / name).read_text()))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a window is shifted": (edit("model.json", lambda t: t.replace("20", "19", 1)), r"model\.json is not as it was"),
    "it says nothing": (edit("model.json", lambda t: ""), r"model\.json is not as it was"),
    "it is gone": (lambda f: (f / "model.json").unlink(), r"model\.json is missing"),
    "parameters are changed": (edit("model.json", lambda t: t.replace("{}", '{"a": 1}')), r"model\.json is not as it"),
    "sites are changed": (edit("sites.tsv", lambda t: t.replace("A\tC", "A\tG", 1)), r"sites\.tsv is not as it was"),
    "a window's parameters are changed": (
        edit("windows/00001/imputer.json", lambda t: t.replace("1", "2")),
        r"00001/imputer\.json is not as it was",
    ),
    "a file is gone": (lambda f: (f / "windows/00000/frequencies.npy").unlink(), r"frequencies\.npy is missing"),
    "a description is added": (
        lambda f: (f / "windows/00000/state/description.toml").write_text("x"),
        r"description\.toml was added after the model was fitted",
    ),
    "there is no table": (lambda f: (f / TABLE).unlink(), "has no table of checksums"),
    "the table is empty": (lambda f: (f / TABLE).write_text(""), f"{TABLE} is empty"),
    "the table is no table": (lambda f: (f / TABLE).write_text("none\n"), "'none' is not|none is not a line"),
    "the table names a file elsewhere": (
        lambda f: (f / TABLE).write_text(f"{'0' * 64}  ../elsewhere\n"),
        r"names \.\./elsewhere, which is not in the folder",
    ),
    "a file is a link": (
        lambda f: ((f / "sites.tsv").rename(f.parent / "out"), (f / "sites.tsv").symlink_to(f.parent / "out")),
        r"sites\.tsv is a link",
    ),
    "a folder is a link": (
        lambda f: ((f / "windows").rename(f.parent / "out"), (f / "windows").symlink_to(f.parent / "out")),
        r"windows is a link",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_named_in_one_line(name: str, model: Path, panel: GenotypeMatrix, tmp_path: Path) -> None:
    WindowedModel.verified(model)
    change, said = CHANGES[name]
    change(model)
    with pytest.raises(InputError, match=said) as refused:
        impute_file(ImputeSettings(tmp_path / "target.vcf.gz", None, model), tmp_path / "runs")
    assert "\n" not in str(refused.value)


def test_sha256sum_reads_the_table(model: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", TABLE], cwd=model, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == len(list(model.rglob("*.*"))) + 2  # a table a window


@pytest.mark.parametrize(
    "windows",
    [[["1", 0, 31]], [["1", -5, 30]], [["2", 0, 30]], [["1", 0, 20]], [["1", 0.0, 30]], [], [["1", 0]], 5, None],
)
def test_windows_that_are_not_of_the_sites_are_refused(windows: object, model: Path) -> None:
    """A folder whose checksums are right, because whoever made it wrote them too."""
    edit("model.json", lambda text: json.dumps({**json.loads(text), "windows": windows}))(model)
    write_checksums(model)
    with pytest.raises(InputError, match=r"not one of this model's sites|do not cover|holds no fitted model"):
        WindowedModel(model)


@pytest.mark.parametrize("key", ["name", "imputer", "panel_digest"])
def test_what_goes_into_a_header_is_a_name(key: str, model: Path) -> None:
    edit("model.json", lambda text: json.dumps({**json.loads(text), key: "x\n##more=y"}))(model)
    with pytest.raises(InputError, match=r"model\.json: 'x\\n##more=y' is not a name"):
        WindowedModel(model)


@pytest.mark.parametrize("content", ["[]", "{}", "nothing", '{"imputer": ["mode"]}', '{"imputer": "../mode"}'])
def test_an_imputer_that_is_none_is_refused_in_one_line(content: str, model: Path) -> None:
    place = WindowedModel.place(model, 0)
    (place / "imputer.json").write_text(content)
    write_checksums(place)
    require_checksums(place)
    for read in (imputers.class_in, Mode.load):
        with pytest.raises(InputError) as refused:
            read(place)
        assert "\n" not in str(refused.value) and str(place) in str(refused.value)


def test_arrays_of_python_objects_are_refused(model: Path) -> None:
    place = WindowedModel.place(model, 0)
    np.save(place / "frequencies.npy", np.array([print], dtype=object), allow_pickle=True)
    write_checksums(place)
    with pytest.raises(InputError, match=r"cannot be read as a fitted mode: Object arrays cannot be loaded"):
        Mode.load(place)


NOT_NAMES = ["../x", "a/b", "..", "a..b", "/etc", "", ".hidden", "-rf", "a b", "a\nb", "x" * 101, "é"]


@pytest.mark.parametrize("name", NOT_NAMES)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a name: it has letters") as refused:
        FitSettings(panel=tmp_path / "no.vcf.gz", name=name, imputer="mode")
    assert "\n" not in str(refused.value)
    for table in ({"name": name}, {"data": {name: {}}}, {"variants": {"mode": {name: {}}}}):
        with pytest.raises(InputError, match=r"^e\.toml: (name|data|variants): .* is not a name"):
            parse(table, "e.toml")
    (tmp_path / "dataset.json").write_text(json.dumps({"layout": LAYOUT, "name": name}))
    with pytest.raises(InputError, match=r"the dataset .* is not a name"):
        read_about(tmp_path)


@pytest.mark.parametrize("file", ["..panel..vcf.gz", "a b.bed", "é.bcf", f"{'x' * 300}.vcf", "panel.v1..2.vcf.gz"])
def test_names_made_from_files_are_names(file: str) -> None:
    assert is_plain(name_of(Path(file)))
