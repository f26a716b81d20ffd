"""traits compare, fit and predict, on files, by the command line."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.cli.app import narrowed
from snpimpute.io.write_vcf import write_vcf
from snpimpute.traits.cohorts import stem_of
from snpimpute.traits.evaluate import Evaluation, EvaluationSettings, evaluate_predictors, summary, table_of
from snpimpute.traits.evaluation_page import FILES, verdict, write_evaluation
from snpimpute.traits.learned import read_learned
from tests.report.test_report import Tables, browser  # noqa: F401
from tests.traits.data import ld_calls, matrix_of, write_traits

PANELS = os.environ.get("SNPIMPUTE_PANELS")


def run(*arguments: object):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(narrowed(words), words, catch_exceptions=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Genotypes of 140 samples, 120 of which have a trait of four sites, of sex and of noise; 20 are new."""
    folder = tmp_path_factory.mktemp("traits")
    matrix = matrix_of(ld_calls(140, 60, seed=1))
    write_vcf(folder / "panel.vcf.gz", matrix.take_samples(np.arange(120)))
    write_vcf(folder / "new.vcf.gz", matrix.take_samples(np.arange(120, 140)).take_sites(np.arange(1, 60)))
    rng = np.random.default_rng(2)
    sex = np.array(["f", "m"])[rng.integers(0, 2, 140)]
    genetic = matrix.calls[:, [5, 20, 35, 50]] @ np.array([1.0, -1.0, 1.0, 1.0])
    y = genetic + 2 * (sex == "m") + rng.normal(0, 0.5, 140)
    write_traits(folder / "traits.tsv", y=y, case=(y > np.median(y)).astype(int), sex=sex, family=np.arange(140) // 4)
    pd.Series(genetic, name="genetic").to_csv(folder / "genetic.tsv", sep="\t", index=False)
    return folder


def settings_of(data: Path, **changes) -> EvaluationSettings:
    plain = EvaluationSettings(
        data / "panel.vcf.gz", data / "traits.tsv", "y", ("ridge",), covariates=("sex",), folds=3
    )
    return replace(plain, **{"params": (("lightgbm", {"trees": 30}),), **changes})


def test_measures_and_paired_differences(data):
    found = evaluate_predictors(settings_of(data), Watch())
    assert found.score("gblup", "pcc").value > 0.8 and found.score("ridge", "pcc").value > 0.8
    gap = found.score("ridge", "pcc").value - found.score("lightgbm", "pcc").value
    assert found.score("ridge", "pcc", "lightgbm").value == pytest.approx(gap)
    assert 0.7 < found.score("gblup", "slope").value < 1.3
    assert found.verdict("ridge", "gblup") == "not told apart"
    assert set(found.table.measure) == {"pcc", "mse", "slope", "top"}
    assert found.parameters["gblup"] is None and (found.parameters["ridge"] or 0) > 30
    assert len(summary(found)) >= 4


def test_better_is_said_where_the_interval_leaves_out_zero(data):
    """Trees of one leaf's depth learn nothing of these samples."""
    found = evaluate_predictors(settings_of(data, params=(("lightgbm", {"trees": 1, "learning_rate": 1e-3}),)), Watch())
    assert found.verdict("ridge", "lightgbm") == "better" and found.verdict("lightgbm", "gblup") == "worse"


def test_a_binary_trait_by_family(data):
    found = evaluate_predictors(settings_of(data, trait="case", scheme="family"), Watch())
    assert found.binary and found.score("gblup", "auc").value > 0.8


def test_one_fold_and_unknown_predictors_are_refused(data):
    with pytest.raises(InputError, match="--folds 1"):
        evaluate_predictors(settings_of(data, folds=1), Watch())
    with pytest.raises(InputError, match="unknown predictor 'oracle'"):
        evaluate_predictors(settings_of(data, predictors=("oracle",)), Watch())


def test_compare_by_the_command_line(data, tmp_path):
    """The page, its files and what is printed say the same; no figure is without its interval, and nothing is overwritten."""
    common = ["traits", "compare", data / "panel.vcf.gz", "--traits", data / "traits.tsv", "--folds", 2, "--threads", 1]
    common += ["--report", tmp_path / "report", "--runs", tmp_path / "runs"]
    done = run(*common, "--trait", "case", "--predictor", "ridge", "--json", "-o", tmp_path / "table.tsv")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    table = pd.read_csv(tmp_path / "table.tsv", sep="\t")
    assert len(table) == len(said["scores"]) and said["verdicts"]["ridge"]["gblup"]
    folder = tmp_path / "report"
    assert {path.name for path in folder.iterdir()} == set(FILES) and said["report"] == str(folder / FILES[0])
    assert (folder / FILES[1]).read_text() == (tmp_path / "table.tsv").read_text()
    text = (folder / FILES[0]).read_text(encoding="utf-8")
    assert f"<p>Take {said['recommended']} for case (correlation " in text
    tables = Tables(text)
    measures = tables.table("Measures, mean over folds (95% intervals)")
    auc = table[(table.predictor == "ridge") & (table.measure == "auc") & table.versus.isna()].iloc[0]
    assert measures["ridge"]["AUC"] == (f"{auc.value:.3f}", f"{auc.low:.3f} to {auc.high:.3f}")
    assert list(measures["gblup"])[1:] == ["Correlation", "MSE", "Slope", "AUC"]  # all cases are equally good
    assert tables.table("Run")["Folds"]["Value"][0] == "2 folds, random, seed 1"
    plots = json.loads(text.split('id="plots">')[1].split("</script>")[0])
    zero, to_gblup, _ = plots["forest-1"]["data"]
    assert zero["y"] == [0.0, 0.0] and zero["x"] == [-0.5, 2.5] and to_gblup["meta"] == "difference to gblup"
    apart = table[(table.measure == "pcc") & (table.versus == "gblup")].set_index("predictor").value
    assert to_gblup["y"] == pytest.approx(apart.sort_values(ascending=False).tolist(), abs=1e-5)
    for there, option in ((["-o", tmp_path / "table.tsv"], "-o"), ([], "--report")):
        refused = run(*common, "--trait", "case", *there)
        assert isinstance(
            refused.exception, InputError
        ) and f"is not overwritten: give another name with {option}" in str(refused.exception)


def test_parameters_on_the_command_line_and_in_a_file(data, tmp_path):
    """The same file serves compare and fit; a later value replaces an earlier one, and what is given is kept in the model."""
    file = tmp_path / "mine.toml"
    file.write_text("[lightgbm]\ntrees = 3\nleaves = 4\n[gblup]\nencoding = 'additive'\n")
    common = [data / "panel.vcf.gz", "--traits", data / "traits.tsv", "--trait", "y", "--params", file, "--threads", 1]
    common += ["--params", "lightgbm.trees=2", "--params", "gblup.min_maf=0.02", "--runs", tmp_path / "runs"]
    done = run("traits", "fit", *common, "--predictor", "gblup", "-o", tmp_path / "gblup")
    assert done.exit_code == 0, done.output
    params = read_learned(tmp_path / "gblup").predictor.params
    assert (params.encoding, params.min_maf) == ("additive", 0.02)
    done = run("traits", "compare", *common, "--predictor", "gblup", "--folds", 2, "--report", tmp_path / "report")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report" / FILES[0]).read_text(encoding="utf-8")
    said = {name: Tables(page).table("Predictors")[name]["Parameters"][0] for name in ("gblup", "lightgbm")}
    assert "encoding=additive, min_maf=0.02" in said["gblup"]
    assert all(word in said["lightgbm"].split(", ") for word in ("trees=2", "leaves=4"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gblub.min_maf=0", "unknown predictor 'gblub', did you mean 'gblup'?: give one of "),
        (
            "cnn.dropuot=0.3",
            "predictor cnn: unknown parameter 'dropuot', did you mean 'dropout'? (parameters: encoding, ",
        ),
        ("gblup.min_maf=0.7", "predictor gblup: parameter 'min_maf': Input should be less than or equal to 0.5"),
        ("gblup.min_maf=many", "predictor gblup: parameter 'min_maf': Input should be a valid number"),
        ("gblup.components=2", "predictor gblup: components are the same for all predictors: give --pcs"),
        ("ridge.min_maf=0", "--params: ridge is not "),
        ("min_maf=0.1", "--params min_maf=0.1 names no parameter of a predictor: give PREDICTOR.NAME=VALUE"),
        ("nowhere.toml", "--params nowhere.toml is no file, and has no value: give PREDICTOR.NAME=VALUE"),
        ("flat.toml", "flat.toml: min_maf is in no predictor's table: write it below [PREDICTOR]"),
    ],
)
def test_wrong_parameters_are_told_in_one_line(data, tmp_path, monkeypatch, given, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat.toml").write_text("min_maf = 0.1\n")
    for verb in ("compare", "fit"):
        done = run(
            "traits", verb, data / "panel.vcf.gz", "--traits", data / "traits.tsv", "--trait", "y", "--params", given,
            "--predictor", "gblup",
        )  # fmt: skip
        assert isinstance(done.exception, InputError), done.output
        assert str(done.exception).startswith(("--params: " if "unknown predictor" in said else "") + said)
        assert "\n" not in str(done.exception)
    assert {path.name for path in tmp_path.iterdir()} == {"flat.toml"}


def test_a_report_is_named_without_the_ending_of_its_genotypes():
    for name in ("a.b.tsv.gz", "a.b.csv", "a.b.txt", "a.b.vcf.gz", "a.b.bed"):
        assert stem_of(Path("folder") / name) == "a.b"


def evaluation_of(**reached: tuple[float, float]) -> Evaluation:
    """An evaluation of predictors that differ by fold as told: name → mean and slope over five folds."""
    measured = {(name, "pcc"): mean + spread * np.linspace(-1, 1, 5) for name, (mean, spread) in reached.items()}
    settings = EvaluationSettings(Path("g.vcf.gz"), Path("t.tsv"), "y")
    nothing: dict = dict.fromkeys(reached, 0.0)
    return Evaluation(settings, 100, 10, False, table_of(measured, 0.25), nothing, nothing, ())


def test_the_sentence_on_top_says_better_only_where_the_interval_leaves_out_zero():
    clear = verdict(evaluation_of(gblup=(0.4, 0.01), lightgbm=(0.52, 0.2), rkhs=(0.5, 0.01)))
    assert clear.startswith("Take rkhs for y") and "better than gblup (+0.100, +0.100 to +0.100)" in clear
    assert "not told apart from lightgbm (−0.020, " in clear
    tied = verdict(evaluation_of(gblup=(0.4, 0.01), lightgbm=(0.3, 0.01), rkhs=(0.45, 0.2)))
    assert tied.startswith("Take gblup for y") and "rkhs has the highest correlation, 0.450, not told apart" in tied
    first = verdict(evaluation_of(gblup=(0.4, 0.01), lightgbm=(0.3, 0.01)))
    assert first.startswith("Take gblup for y") and first.endswith("no other has a higher one.")


@pytest.mark.panels
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_opens_the_report_offline(browser, data, tmp_path, width):  # noqa: F811
    page_path = tmp_path / FILES[0]
    write_evaluation(evaluate_predictors(settings_of(data, trait="case"), Watch()), tmp_path)
    page = browser.new_page(viewport={"width": width, "height": 800})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())
    for figure in ("forest-0", "forest-1"):
        page.locator(f"#{figure}").scroll_into_view_if_needed()
        page.locator(f"#{figure} .ytitle").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not complaints and requests == [page_path.as_uri()]
    page.close()


def test_fitted_saved_and_predicted(data, tmp_path):
    """New samples lack a site, and stand in a file of their own; covariates come by a table."""
    model = tmp_path / "model"
    common = ["--traits", data / "traits.tsv", "--threads", 1]
    done = run("traits", "fit", data / "panel.vcf.gz", *common, "--trait", "y", "--covariates", "sex", "-o", model)
    assert done.exit_code == 0, done.output
    assert read_learned(model).coding == {"sex": ["f", "m"]}
    out = tmp_path / "predicted.tsv"
    done = run("traits", "predict", model, data / "new.vcf.gz", "--traits", data / "traits.tsv", "-o", out)
    assert done.exit_code == 0, done.output
    assert "lacks 1 site of 60" in done.output
    predicted = pd.read_csv(out, sep="\t")
    truth = pd.read_csv(data / "traits.tsv", sep="\t").set_index("sample")["y"][predicted["sample"]]
    assert predicted["sample"].tolist() == [f"s{i}" for i in range(120, 140)]
    assert np.corrcoef(predicted["y"], truth)[0, 1] > 0.8
    without = run("traits", "predict", model, data / "new.vcf.gz", "-o", tmp_path / "other.tsv")
    assert isinstance(without.exception, InputError) and "give a table of them by --traits" in str(without.exception)
    assert not (tmp_path / "other.tsv").exists()
    (model / "trait.json").write_text((model / "trait.json").read_text().replace("gblup", "ridge"))
    changed = run("traits", "predict", model, data / "new.vcf.gz", "-o", tmp_path / "other.tsv")
    assert isinstance(changed.exception, InputError)


def test_an_unknown_word_of_a_covariate_is_refused(data, tmp_path):
    model = tmp_path / "model"
    run(
        "traits",
        "fit",
        data / "panel.vcf.gz",
        "--traits",
        data / "traits.tsv",
        "--trait",
        "y",
        "--covariates",
        "sex",
        "-o",
        model,
    )
    other = write_traits(tmp_path / "other.tsv", sex=np.array(["x"] * 140))
    done = run("traits", "predict", model, data / "new.vcf.gz", "--traits", other, "-o", tmp_path / "out.tsv")
    assert isinstance(done.exception, InputError) and "is 'x', and is known as f, m" in str(done.exception)


@pytest.mark.panels
@pytest.mark.skipif(PANELS is None, reason="SNPIMPUTE_PANELS is not set")
def test_gblup_on_wheat():
    """Environment 1, mean of eight draws of five folds: .53 within .02, as measured elsewhere."""
    folder = Path(str(PANELS)) / "traits" / "wheat"
    settings = EvaluationSettings(
        folder / "markers.tsv.gz",
        folder / "traits.tsv",
        "yield_env1",
        ("gblup",),
        params=(("lightgbm", {"trees": 1}),),
        repeats=8,
    )
    assert evaluate_predictors(settings, Watch()).score("gblup", "pcc").value == pytest.approx(0.53, abs=0.02)
