"""Models of networks as ONNX: the same posteriors without the framework, served and imputed with, and refusals in one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from snpimpute.base.checksums import write_checksums
from snpimpute.base.errors import InputError
from snpimpute.cli.app import app
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.export import PARITY, export_model, exported_folder, exported_model, made_up
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.windows import WindowedModel
from snpimpute.imputers._exported import Exported
from snpimpute.imputers.testing import small_panel
from snpimpute.io.write_vcf import write_vcf
from tests.impute.tables import export_tables, write_table

pytest.importorskip("onnxruntime")
NETWORKS = {
    "dense": {"input": "standardised"},
    "dense_emb": {},
    "cae": {"padding": "same", "input": "indicator"},
    "bert": {"hidden": 64, "feed_forward": 128, "precision": "float32"},
}
CALIBRATION = (1.4, 0.3, -0.2, -0.1)


@pytest.fixture(scope="module")
def calves() -> GenotypeMatrix:
    whole = small_panel(120, n_sites=90, missing=0.0)
    return whole.take_sites(np.flatnonzero(whole.take_samples(slice(0, 80)).maf() > 0)[:60])


@pytest.fixture(scope="module")
def fitted(calves, tmp_path_factory) -> Path:
    """A model without a network, in two windows: its folder."""
    runs = tmp_path_factory.mktemp("export")
    write_vcf(runs / "panel.vcf.gz", calves.take_samples(slice(0, 80)))
    return fit(FitSettings(runs / "panel.vcf.gz", "calves", "mode", holdout=0.0, window="40"), runs, None).folder


@pytest.fixture(scope="module")
def exported(fitted, tmp_path_factory) -> tuple[Path, list[np.ndarray]]:
    """The model's export, of tables in the place of networks, and the table of each window."""
    return exported_folder(fitted), export_tables(fitted, tmp_path_factory.mktemp("tables"))


def test_an_exported_network_imputes_any_number_of_samples(exported, calves):
    folder, tables = exported
    model = WindowedModel.verified(folder)
    assert model.about["imputer"] == "mode" and model.imputer_class is Exported
    window = model.windows[1]
    target = calves.take_sites(window.sites).hide(np.random.default_rng(3).random((120, 40)) < 0.5)
    found = model.imputer(1).posterior(target)  # 120 samples: two batches
    expected = tables[1][target.calls + 1, np.arange(40)]
    np.testing.assert_allclose(found[target.calls < 0], expected[target.calls < 0], atol=1e-6)
    assert (found[target.calls == 2] == [0, 0, 1]).all()
    for sample in (0, 119):
        alone = model.imputer(1).posterior(target.take_samples(slice(sample, sample + 1)))
        np.testing.assert_allclose(alone[0], found[sample], atol=1e-7)
    with pytest.raises(InputError, match="an exported network learns nothing: fit imputer mode"):
        model.imputer(1).fit(calves)


def test_what_cannot_be_exported_or_is_not_is_refused_in_one_line(fitted, exported, calves, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match="imputer mode has no network to export: those of bert, cae, dense, dense_emb can be exported"
    ):
        export_model(fitted, tmp_path)
    with pytest.raises(InputError, match="is an exported model: export the model that it was made from"):
        export_model(exported[0], tmp_path)
    other = tmp_path / "other"
    shutil.copytree(fitted, other)
    (other / "model.json").write_text((other / "model.json").read_text() + "\n")
    write_checksums(other)
    with pytest.raises(InputError, match=r"model calves is not exported.*: snpimpute models export calves"):
        exported_model(other, "calves")
    exported_folder(other).symlink_to(exported[0])
    with pytest.raises(InputError, match="is the export of another model: snpimpute models export calves --force"):
        exported_model(other, "calves")
    exported_folder(other).unlink()
    exported_folder(other).mkdir()
    (exported_folder(other) / "model.json").write_text("{}")
    with pytest.raises(InputError, match="is no complete export: snpimpute models export calves --force"):
        exported_model(other, "calves")
    assert exported_model(exported[0], "calves") == exported[0]
    monkeypatch.chdir(other / "windows")
    assert exported_folder(Path("..")) == exported_folder(other)
    write_table(tmp_path / "table.onnx", np.full((4, 7, 3), 1 / 3, np.float32))
    imputer = WindowedModel(fitted).imputer(0)
    with pytest.raises(InputError, match="is not a network of 40 sites: export it again"):
        Exported.from_file(tmp_path / "table.onnx", imputer)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match=r"text\.onnx cannot be read as an exported network: .*; export it again"):
        Exported.from_file(tmp_path / "text.onnx", imputer)
    write_vcf(tmp_path / "target.vcf.gz", calves)
    for words, told in (
        (["models", "export", str(fitted), "--to", "pickle"], "--to 'pickle' is not known: give onnx"),
        (["models", "serve", "calves", "--engine", "tensorrt"], "--engine 'tensorrt' is not known: give onnx"),
        (["impute", str(tmp_path / "target.vcf.gz"), "-o", str(tmp_path / "x.vcf.gz"), "--no-panel", "--engine", "onnx"], "leave out one"),
        (["impute", str(tmp_path / "target.vcf.gz"), "-o", str(tmp_path / "x.vcf.gz"), "--engine", "onnx", "--imputer", "dense"],
         "--imputer dense goes with --no-panel; here a model imputes"),
    ):  # fmt: skip
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, InputError) and told in str(done.exception), done.exception
    assert not (tmp_path / "x.vcf.gz").exists()


def test_the_header_tells_the_engine_and_a_damaged_export_is_to_be_exported_again(exported, calves, tmp_path):
    write_vcf(tmp_path / "target.vcf.gz", calves.take_samples(slice(80, 120)).take_sites(slice(0, None, 3)))
    words = ["impute", str(tmp_path / "target.vcf.gz"), "--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "x.vcf")]
    done = CliRunner().invoke(app, [*words, "--model", str(exported[0])], catch_exceptions=False)
    assert done.exit_code == 0 and "##snpimpute_engine=onnx\n" in (tmp_path / "x.vcf").read_text()
    damaged = tmp_path / "damaged.onnx"
    for file, change in (("sites.tsv", b""), ("model.json", b"{}"), ("windows/00001/state/network.onnx", None)):
        shutil.copytree(exported[0], damaged, dirs_exist_ok=True)
        (damaged / file).unlink()
        if change is not None:
            (damaged / file).write_bytes(change)
        done = CliRunner().invoke(app, [*words, "--force", "--model", str(damaged)])
        assert isinstance(done.exception, InputError), done.output
        told = str(done.exception)
        assert told.endswith("export it again (snpimpute models export NAME --force)") and "fit" not in told, told


def test_made_up_samples_have_the_panels_frequencies(calves):
    frequencies = calves.genotype_frequencies()
    drawn = made_up(calves.sites, frequencies, 4000, seed=2)
    assert 0.45 < (drawn.calls < 0).mean() < 0.55
    np.testing.assert_allclose(drawn.genotype_frequencies(), frequencies, atol=0.06)


@pytest.mark.panels
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_the_same_posterior_without_its_framework(name, calves, tmp_path):
    runs, panel = tmp_path / "runs", tmp_path / "panel.vcf.gz"
    write_vcf(panel, calves.take_samples(slice(0, 80)))
    write_vcf(tmp_path / "target.vcf.gz", calves.take_samples(slice(80, 120)).take_sites(slice(0, None, 3)))
    params = {"epochs": 2, "calibration": CALIBRATION, **NETWORKS[name]}
    folder = fit(FitSettings(panel, "calves", name, params, holdout=0.0, window="40"), runs, None).folder
    found = export_model(folder, runs)
    assert found.windows == 2 and 0 < found.largest_difference <= PARITY and not list((runs / "export").iterdir())
    target = calves.take_samples(slice(80, 120)).hide(np.random.default_rng(1).random((40, 60)) < 0.7)
    np.savez(tmp_path / "target.npz", calls=target.calls, expected=WindowedModel(folder).posterior(target))
    # in a process of its own, as this one may have the frameworks already
    code = f"""
import sys
import numpy as np, pandas as pd
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.windows import WindowedModel
model, given = WindowedModel.verified({str(found.folder)!r}), np.load({str(tmp_path / "target.npz")!r})
for n in (1, 7, 40):
    samples = pd.DataFrame({{"sample": [str(i) for i in range(n)]}})
    posterior = model.posterior(GenotypeMatrix(given["calls"][:n], samples, model.sites))
    apart = np.abs(posterior - given["expected"][:n]).max()
    assert apart <= {PARITY}, apart
assert posterior.std() > 0.1
loaded = {{"torch", "tensorflow", "keras", "jax", "transformers"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    dosages = []
    for more in ([], ["--engine", "onnx"]):
        words = ["impute", str(tmp_path / "target.vcf.gz"), "-o", str(tmp_path / f"{len(more)}.vcf"), *more]
        done = CliRunner().invoke(app, [*words, "--model", str(folder), "--runs", str(runs)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        rows = [line.split("\t") for line in (tmp_path / f"{len(more)}.vcf").read_text().splitlines() if line[0] != "#"]
        dosages.append([[float(field.split(":")[1]) for field in row[9:]] for row in rows])
    assert np.shape(dosages) == (2, 60, 40)
    np.testing.assert_allclose(*dosages, atol=1.5e-3)  # written with three decimals
    with pytest.raises(InputError, match="is there already: --force exports the model again"):
        export_model(folder, runs)
