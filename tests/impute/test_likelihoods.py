"""Imputation from genotype likelihoods, PL, GL or GP in place of GT, from the command line; and fields that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.likelihoods import LIKELIHOODS_FILE, likelihoods_at, logarithms
from snpimpute.imputers.mode import Mode
from snpimpute.imputers.mosaic import Mosaic, MosaicParams
from snpimpute.imputers.testing import small_panel
from snpimpute.io.likelihoods import likeliest_calls, likelihoods_of
from snpimpute.io.stream import streamed
from tests.impute.test_real_files import Folder
from tests.impute.test_records import N_PANEL, N_TARGET, accepted, fields, haplotypes, spelled, split_samples
from tests.io.test_vcf import record, vcf_text

N_SITES = 100
TRI = 50  # a site with two ALTs
EXCHANGED = 30  # a site at which the target has REF and ALT exchanged
READ_ERROR = 0.01


def phred(copies: np.ndarray, rng: np.random.Generator, coverage: float = 1.0) -> np.ndarray:
    """PL of reads over genotypes with 0, 1, 2 copies of ALT, int (n_samples, 3)."""
    depth = rng.poisson(coverage, len(copies))
    shows = np.array([READ_ERROR, 0.5, 1 - READ_ERROR])
    alternate = rng.binomial(depth, shows[copies])[:, None]
    chance = alternate * np.log10(shows) + (depth[:, None] - alternate) * np.log10(1 - shows)
    return np.rint(-10 * (chance - chance.max(axis=1, keepdims=True))).astype(int)


def test_likelihoods_are_kept_as_logarithms_and_none_is_ruled_out(tmp_path: Path) -> None:
    sites = [[[1, 0.1, 0], [1, 1, 1]], [[0.01, 1, 1e-30], [0, 0, 1]], [[1, 0.5, 0.25], [1, 1e-3, 1]]]
    kept = [logarithms(np.array(site, dtype=np.float32)) for site in sites]
    assert kept[0].dtype == np.float16 and kept[0].tolist() == [[0, -1, -12], [0, 0, 0]]
    assert likelihoods_at(tmp_path, np.array([0]), 2) is None
    np.stack(kept).tofile(tmp_path / LIKELIHOODS_FILE)
    found = likelihoods_at(tmp_path, np.array([2, 0]), 2)
    assert found is not None and found.dtype == np.float32 and found.shape == (2, 2, 3)
    expected = [[[1, 0.5, 0.25], [1, 0.1, 1e-12]], [[1, 1e-3, 1], [1, 1, 1]]]
    np.testing.assert_allclose(found, expected, rtol=0.003)


def test_haploid_likelihoods_stand_as_homozygotes() -> None:
    """Three alleles: six genotypes of a diploid, three alleles of a haploid; GL may be -inf throughout."""
    nan, none = np.nan, -np.inf
    table = np.array(
        [[0, 10, 20, nan, nan, nan], [10, 20, 0, 30, 10, 20], [nan] * 6, [20, nan, nan, nan, nan, nan]],
        dtype=np.float32,
    )
    found, haploid = likelihoods_of(table[:3], "PL", 3, 2, "here")
    assert haploid.tolist() == [True, False, False]
    expected = [[1, 0, 0.1, 0, 0, 0.01], [0.1, 0.01, 1, 0.001, 0.1, 0.01], [1] * 6]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(InputError) as told:
        likelihoods_of(table, "PL", 4, 2, "a.vcf at 1:7")
    assert str(told.value) == (
        "a.vcf at 1:7: FORMAT/PL has 1 values, and 3 alleles make 6 genotypes (of a haploid call 3): make it again, "
        "or impute from GT without --use PL"
    )
    table = np.array([[none, none, none], [none, -1, nan], [none, none, -7], [-3, -3, -3]], dtype=np.float32)
    found, haploid = likelihoods_of(table, "GL", 4, 1, "here")
    np.testing.assert_allclose(found, [[1, 1, 1], [0, 0, 1], [0, 0, 1], [1, 1, 1]])
    assert haploid.tolist() == [False, True, False, False]
    found, haploid = likelihoods_of(np.array([[0, 0, 0], [0.5, 0.25, nan]], dtype=np.float32), "GP", 2, 1, "here")
    assert found.tolist() == [[1, 1, 1], [1, 0, 0.5]]


def test_a_record_without_the_field_or_without_alt_tells_nothing() -> None:
    for table, n_alts in ((None, 2), (np.zeros((3, 1), dtype=np.float32), 0)):
        found, haploid = likelihoods_of(table, "PL", 3, n_alts, "here")
        assert found.shape == (3, 6 if n_alts else 1) and (found == 1).all() and found.dtype == np.float32
        assert haploid.tolist() == [False] * 3


def test_values_that_a_field_cannot_have_are_refused() -> None:
    for key, values, message in (
        ("PL", [0, -1, 3], "here: FORMAT/PL holds other values than numbers of 0 and above"),
        ("GP", [-0.1, 1, 0], "here: FORMAT/GP holds other values than probabilities from 0 to 1"),
        ("GP", [0, 1.1, 0], "here: FORMAT/GP holds other values than probabilities from 0 to 1"),
    ):
        with pytest.raises(InputError) as told:
            likelihoods_of(np.array([values], dtype=np.float32), key, 1, 1, "here")
        assert str(told.value) == message
    found, _ = likelihoods_of(np.array([[0, 1.0005, 0]], dtype=np.float32), "GP", 1, 1, "here")  # rounded
    assert found.tolist() == [[0, 1, 0]]


def test_the_likeliest_call_is_of_alleles_with_names() -> None:
    """ALTs C and <*>: genotypes 0/0, 0/1, 1/1, 0/2, 1/2, 2/2."""
    likelihoods = np.array([[0.1, 0.2, 0.3, 1, 0, 0], [0, 0, 0.5, 1, 0, 0], [1] * 6, [0.2, 0.9, 0, 0, 0, 1]])
    haploid = np.array([False, True, True, False])
    alleles, kinds = likeliest_calls(likelihoods, haploid, ["C", "<*>"])
    assert alleles.dtype == kinds.dtype == np.int8
    assert alleles.tolist() == [[1, 1], [1, -1], [-1, -1], [0, 1]] and kinds.tolist() == [4, 2, 0, 4]
    alleles, _ = likeliest_calls(likelihoods, haploid, ["C", "G"])
    assert alleles.tolist() == [[0, 2], [0, -1], [-1, -1], [2, 2]]


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, np.ndarray]:
    """A panel, a target of one read a call with PL, GL and GP and without GT, and the true copies of ALT by site."""
    folder = Folder(tmp_path_factory.mktemp("low"))
    rng = np.random.default_rng(5)
    alleles = haplotypes(N_SITES)
    alleles[:, TRI] *= 1 + alleles[:, TRI - 1]
    panel, target = split_samples(alleles)
    copies = (target > 0).reshape(N_TARGET, 2, N_SITES).sum(axis=1)
    rows: dict[str, list[str]] = {"panel": [], "truth": [], "PL": [], "GL": [], "GP": []}
    for site in range(N_SITES):
        pos, alt = 1000 + 10 * site, "C,G" if site == TRI else "C"
        rows["panel"].append(record(pos, spelled(panel[:, site]), alt=alt))
        rows["truth"].append(record(pos, spelled(target[:, site]), alt=alt))
        values = phred(copies[:, site], rng)
        if site == EXCHANGED:
            values = values[:, ::-1]
        linear = 10 ** (-values / 10)
        linear /= linear.sum(axis=1, keepdims=True)
        written = {"PL": values, "GL": -values / 10, "GP": linear.round(6)}
        if site == TRI:
            allele = target[:, site].reshape(N_TARGET, 2)
            high, small = allele.max(axis=1), allele.min(axis=1)
            written = {key: six(high * (high + 1) // 2 + small, key) for key in written}
        for key, table in written.items():
            calls = [",".join(f"{value:g}" for value in row) for row in table]
            ref_alt = ("C", "A") if site == EXCHANGED else ("A", alt)
            rows[key].append(record(pos, calls, *ref_alt, fmt=key))
    number = {"PL": "Integer", "GL": "Float", "GP": "Float"}
    for name, lines in rows.items():
        header = (
            "" if name not in number else f'##FORMAT=<ID={name},Number=G,Type={number[name]},Description="{name}">\n'
        )
        text = vcf_text(
            lines,
            [f"{name[0] if name == 'panel' else 't'}{i}" for i in range(N_PANEL if name == "panel" else N_TARGET)],
        )
        (folder.path / f"{name}.vcf").write_text(text.replace("##contig=<ID=1>\n", "##contig=<ID=1>\n" + header))
    asked = {"params": {"switch": 0.01, "states": 40}, "holdout": 0.0, "threads": 1}
    fit(FitSettings(folder.path / "panel.vcf", "panel", "mosaic", **asked), folder.path / "runs")
    return folder, copies


def six(genotypes: np.ndarray, key: str) -> np.ndarray:
    """Field of six genotypes that is nearly sure of one, (n_samples, 6)."""
    sure = np.arange(6) == genotypes[:, None]
    return np.where(sure, {"PL": 0, "GL": 0, "GP": 0.995}[key], {"PL": 30, "GL": -3, "GP": 0.001}[key])


def imputed(low: tuple[Folder, np.ndarray], key: str) -> list[list[str]]:
    folder, _ = low
    model = next((folder.path / "runs" / "models").glob("panel-mosaic*")) / "model"
    said = folder.ok(
        "impute", f"{key}.vcf", "-o", f"out-{key}.vcf", "--model", str(model), "--threads", "1", "--use", key, "--force"
    )
    assert f"{N_SITES * N_TARGET} calls at its own sites imputed from {key}" in said
    return folder.records(f"out-{key}.vcf")


def test_one_read_a_call_and_a_panel_tell_the_genotypes(low: tuple[Folder, np.ndarray]) -> None:
    folder, copies = low
    out = imputed(low, "PL")
    assert [row[1] for row in out] == [row[1] for row in folder.records("panel.vcf")]
    doses = np.array([[float(dose) for dose in fields(row, "DS")] for n, row in enumerate(out) if n != TRI]).T
    truth = np.delete(copies, TRI, axis=1)
    values = np.array(
        [[call.split(",") for call in row[9:]] for n, row in enumerate(folder.records("PL.vcf")) if n != TRI]
    )
    likelihoods = 10 ** (-values.astype(float) / 10)
    likelihoods[EXCHANGED] = likelihoods[EXCHANGED][:, ::-1]
    alone = (likelihoods / likelihoods.sum(axis=2, keepdims=True) @ np.array([0, 1, 2])).T
    r2 = [np.corrcoef(found.ravel(), truth.ravel())[0, 1] ** 2 for found in (doses, alone)]
    assert r2[0] > 0.85 and r2[1] < 0.6
    assert {call for row in out for call in fields(row, "IC")} == {"1"}
    exchanged = out[EXCHANGED]
    assert exchanged[3:5] == ["A", "C"]
    assert np.corrcoef([float(dose) for dose in fields(exchanged, "DS")], copies[:, EXCHANGED])[0, 1] > 0.8
    accepted(folder.path / "out-PL.vcf")


def test_a_record_with_several_alts_follows_its_likelihoods(low: tuple[Folder, np.ndarray]) -> None:
    folder, _ = low
    row = imputed(low, "PL")[TRI]
    true = [sorted(call.split("|")) for call in folder.records("truth.vcf")[TRI][9:]]
    assert row[4] == "C,G" and [sorted(call.split("/")) for call in fields(row, "GT")] == true


@pytest.mark.parametrize("key", ["GL", "GP"])
def test_the_fields_say_the_same_in_other_scales(low: tuple[Folder, np.ndarray], key: str) -> None:
    doses = [[fields(row, "DS") for n, row in enumerate(imputed(low, which)) if n != TRI] for which in ("PL", key)]
    # rounded otherwise, the likelihoods draw other haplotypes to choose states by
    one, other = (np.array(found, dtype=float) for found in doses)
    assert np.abs(one - other).mean() < 0.03


def test_what_cannot_be_used_is_one_line(low: tuple[Folder, np.ndarray], tmp_path: Path) -> None:
    folder, _ = low
    model = str(next((folder.path / "runs" / "models").glob("panel-mosaic*")) / "model")
    asked = ["-o", str(tmp_path / "out.vcf"), "--model", model]
    assert "its records have no GL" in folder.refused("impute", "PL.vcf", *asked, "--use", "GL")
    assert "has no genotypes: its records have no GT" in folder.refused("impute", "PL.vcf", *asked)
    assert "give one of PL, GL, GP" in folder.refused("impute", "PL.vcf", *asked, "--use", "AD")
    line = folder.refused("impute", "PL.vcf", "-o", str(tmp_path / "out.vcf"), "--no-panel", "--use", "PL")
    assert "simpute works from calls: --use PL needs a model of mosaic" in line
    text = (folder.path / "PL.vcf").read_text()
    row = next(line for line in text.splitlines() if line.split("\t")[1:2] == ["1100"])
    for given, reason in (
        ("0,20", ""),
        ("0,20,40,60", "4 values"),
        ("0,-3,9", "numbers of 0 and above"),
        ("0,x,1", ""),
    ):
        changed = "\t".join([*row.split("\t")[:9], given, *row.split("\t")[10:]])
        (folder.path / "bad.vcf").write_text(text.replace(row, changed))
        line = folder.refused("impute", "bad.vcf", *asked, "--use", "PL")
        assert reason in line and "1:1100" in line, line
    assert not (tmp_path / "out.vcf").exists()


def test_fields_as_likelihoods() -> None:
    nan = np.nan
    table = np.array([[0, 10, 20], [nan, nan, nan], [10, 0, nan], [0, 0, 0]], dtype=np.float32)
    found, haploid = likelihoods_of(table, "PL", 4, 1, "here")
    np.testing.assert_allclose(found, [[1, 0.1, 0.01], [1, 1, 1], [0.1, 0, 1], [1, 1, 1]], rtol=1e-6)
    assert haploid.tolist() == [False, False, True, False]
    alleles, kinds = likeliest_calls(found, haploid, ["C"])
    assert alleles.tolist() == [[0, 0], [-1, -1], [1, -1], [-1, -1]] and kinds.tolist() == [4, 0, 2, 0]
    found, _ = likelihoods_of(np.array([[-1, 0, -2.5]], dtype=np.float32), "GL", 1, 1, "here")
    np.testing.assert_allclose(found, [[0.1, 1, 10**-2.5]], rtol=1e-5)
    found, _ = likelihoods_of(np.array([[0.2, 0.8, 0]], dtype=np.float32), "GP", 1, 1, "here")
    np.testing.assert_allclose(found, [[0.25, 1, 0]], rtol=1e-6)
    found, haploid = likelihoods_of(np.array([[0, -np.inf, -1]], dtype=np.float32), "GL", 1, 1, "here")
    np.testing.assert_allclose(found, [[1, 0, 0.1]], rtol=1e-5)
    assert not haploid.any()
    with pytest.raises(InputError, match="here: FORMAT/GL has 2 values"):
        likelihoods_of(np.array([[0, nan, -1]], dtype=np.float32), "GL", 1, 1, "here")
    with pytest.raises(InputError, match="here: FORMAT/GP holds other values than probabilities"):
        likelihoods_of(np.array([[0, 10, 20]], dtype=np.float32), "GP", 1, 1, "here")


def test_sure_likelihoods_are_calls() -> None:
    """Likelihoods that allow one genotype give what calls give, and those that allow all are missing calls."""
    panel = small_panel(60, n_sites=80, missing=0.0)
    target = panel.take_samples(slice(40, 50)).hide(np.arange(80) % 3 > 0)
    model = Mosaic(MosaicParams(switch=0.01, states=30, phased_by="itself", rounds=2)).fit(
        panel.take_samples(slice(0, 40))
    )
    sure = np.where((target.calls < 0)[:, :, None], 1, target.calls[:, :, None] == np.arange(3)).astype(np.float32)
    hidden = target.hide(np.ones(80, dtype=bool))
    as_likelihoods = GenotypeMatrix(hidden.calls, hidden.samples, hidden.sites, likelihoods=sure)
    by_calls, by_likelihoods = model.posterior(target), model.posterior(as_likelihoods)
    # the draws that choose haplotypes differ
    assert np.abs(by_calls - by_likelihoods).mean() < 0.02
    seen = target.calls >= 0
    assert (by_likelihoods[seen].argmax(axis=1) == target.calls[seen]).all() and by_likelihoods[seen].max(
        axis=1
    ).min() > 0.999
    with pytest.raises(InputError, match="imputer mode works from calls"):
        Mode().fit(panel.take_samples(slice(0, 40))).posterior(as_likelihoods)


def test_the_reader_gives_them_with_the_likeliest_call(low: tuple[Folder, np.ndarray]) -> None:
    folder, _ = low
    with streamed(folder.path / "PL.vcf", likelihoods="PL") as (stream,):
        first = next(stream.records)
    assert first.likelihoods is not None and first.likelihoods.shape == (N_TARGET, 3)
    known = first.likelihoods.min(axis=1) < 1
    np.testing.assert_array_equal(first.calls[known], first.likelihoods[known].argmax(axis=1))
    assert (first.calls[~known] == -1).all()


def test_check_takes_the_likeliest_genotypes(low: tuple[Folder, np.ndarray]) -> None:
    folder, _ = low
    said = folder.ok("check", "PL.vcf", "--panel", "panel.vcf", "--use", "PL")
    assert f"{N_SITES + 1} of its {N_SITES + 1} records are sites of the panel" in said
    assert "no GT" in folder.refused("check", "PL.vcf", "--panel", "panel.vcf")


def test_an_allele_without_a_name_is_never_called(low: tuple[Folder, np.ndarray]) -> None:
    """`C,<*>`, as mpileup writes it, is C, even where reads speak for neither C nor REF."""
    folder, _ = low
    lines = []
    for number, line in enumerate((folder.path / "PL.vcf").read_text().splitlines()):
        row = line.split("\t")
        if line[0] != "#" and "," not in row[4] and row[3] == "A":
            row[4] += ",<*>"
            row[9:] = [f"{values},200,210,220" for values in row[9:]]
            if number % 7 == 0:
                row[9] = "30,30,60,0,40,50"
        lines.append("\t".join(row) + "\n")
    (folder.path / "mpileup.vcf").write_text("".join(lines))
    model = str(next((folder.path / "runs" / "models").glob("panel-mosaic*")) / "model")
    folder.ok("impute", "mpileup.vcf", "-o", "star.vcf", "--model", model, "--threads", "1", "--use", "PL")
    rows = folder.records("star.vcf")
    assert len(rows) == N_SITES and {row[4] for row in rows} == {"C", "C,G"}


def test_calls_without_reads_may_be_spelled_in_every_way(low: tuple[Folder, np.ndarray]) -> None:
    """`.`, `.,.,.`, a record of them, likelihoods that are all alike, and a field that the header does not define."""
    folder, _ = low
    lines, spelled_so = [], {1: ".", 2: ".,.,.", 3: "0,0,0"}
    for number, line in enumerate((folder.path / "PL.vcf").read_text().splitlines()):
        row = line.split("\t")
        if line[0] != "#" and "," not in row[4] and number % 5 in spelled_so:
            row[9] = spelled_so[number % 5]
            row[10:] = ["."] * (N_TARGET - 1) if number % 10 == 1 else row[10:]
        lines.append("\t".join(row) + "\n")
    (folder.path / "gaps.vcf").write_text("".join(lines))
    (folder.path / "undefined.vcf").write_text("".join(line for line in lines if "ID=PL" not in line))
    found = []
    for name in ("gaps.vcf", "undefined.vcf"):
        with streamed(folder.path / name, likelihoods="PL") as (stream,):
            found.append([record.likelihoods for record in stream.records])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other)
    first = np.array([record[0].tolist() == [1.0] * record.shape[1] for record in found[0]])
    assert first.sum() >= 50
    model = str(next((folder.path / "runs" / "models").glob("panel-mosaic*")) / "model")
    folder.ok("impute", "gaps.vcf", "-o", "gaps-out.vcf", "--model", model, "--threads", "1", "--use", "PL")
    assert len(folder.records("gaps-out.vcf")) == N_SITES
