"""Windows: every site covered, enough overlap, a blend whose shares sum to 1, a model that is what was fitted."""

from __future__ import annotations

import gzip
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.impute.fit import write_model
from snpimpute.impute.windows import Window, WindowedModel, cut_by_map, cut_by_sites, owned_by, weights_in
from snpimpute.imputers.softmax_regression import SoftmaxRegression
from snpimpute.imputers.testing import small_panel
from snpimpute.io.maps import GeneticMap


def sites_of(**contigs: list[int]) -> pd.DataFrame:
    rows = [(name, pos) for name, positions in contigs.items() for pos in positions]
    return pd.DataFrame(rows, columns=["contig", "pos"]).assign(id="", ref="A", alt="C")


@pytest.mark.parametrize(
    ("n", "size", "overlap"), [(10_000, 500, 0.25), (501, 500, 0.25), (77, 20, 0.5), (20, 20, 0.3)]
)
def test_windows_of_sites_cover_all_and_overlap(n, size, overlap):
    windows = cut_by_sites(sites_of(c1=list(range(1, n + 1)), c2=[5, 6, 7]), size, overlap)
    first, last = windows[:-1], windows[-1]
    assert last == Window("c2", n, n + 3)
    assert all(w.stop - w.start == min(size, n) and w.contig == "c1" for w in first)
    assert first[0].start == 0 and first[-1].stop == n
    for one, other in pairwise(first):
        assert one.start < other.start
        assert one.stop - other.start >= overlap * size


def test_ten_thousand_sites_are_27_windows():
    assert len(cut_by_sites(sites_of(c=list(range(10_000))), 500)) == 27


def test_windows_of_centimorgans_leave_no_site_out():
    rng = np.random.default_rng(1)
    pos = np.unique(np.concatenate([rng.integers(1, 4_000_000, 300), rng.integers(30_000_000, 31_000_000, 200)]))
    sites = sites_of(c=pos.tolist(), d=[10, 20])
    windows = cut_by_map(sites, 2.0, None)
    assert windows[-1] == Window("d", len(pos), len(pos) + 2)
    covered = np.zeros(len(sites), dtype=int)
    for window in windows:
        covered[window.sites] += 1
    assert (covered > 0).all()
    for window in windows[:-1]:
        n = window.stop - window.start
        span = np.ptp(pos[window.sites]) / 1e6
        assert n >= 10 and (span <= 2.0 or n <= 20)
    starts = [window.start for window in windows]
    assert starts == sorted(starts)


def test_a_map_stretches_where_recombination_is(tmp_path):
    path = tmp_path / "a.map"
    path.write_text("c . 0 1\nc . 10 1000001\nc . 11 2000001\n")
    genetic_map = GeneticMap.read(path)
    found = genetic_map.centimorgans("c", np.array([1, 500_001, 1_500_001, 3_000_001]))
    np.testing.assert_allclose(found, [0, 5, 10.5, 12])
    sites = sites_of(c=list(range(1, 2_000_001, 10_000)))
    windows = cut_by_map(sites, 2.0, genetic_map)
    left = sum(w.stop <= 100 for w in windows)
    right = sum(w.start >= 100 for w in windows)
    assert left >= 5 and right <= 1
    with pytest.raises(InputError, match="no contig 'x'; it has c"):
        genetic_map.centimorgans("x", np.array([1]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c . 1\n", "line 1, is not of a PLINK map"),
        ("c . 1 5 7\n", "line 1, is not of a PLINK map"),
        ("pos chr cM\n5 c 1\n", r"line 1, is not of a PLINK map \(contig, id, cM, position\): pos chr cM"),
        ("c . 1 5\nc . nan 9\n", "line 2, is not of a PLINK map"),
        ("c . 1 1e3\nc . 2 2e3\n", "line 1, is not of a PLINK map"),
        ("c . 1 5\nc . 0 9\n", "on contig c cM fall at 9"),
        ("c . 1 9\nc . 2 5\n", "on contig c positions fall at 5: sort the map"),
        ("c . 1 5\nc . 2 5\n", "on contig c a position repeats at 5"),
        ("c . 1 5\n", "on contig c all cM are 1: give two positions that differ"),
        ("c . 1 5\nc . 1 9\nd . 1 5\nd . 2 9\n", "on contig c all cM are 1"),
        ("", "is empty"),
    ],
)
def test_broken_maps_are_refused_as_beagle_refuses_them(tmp_path, text, said):
    """Each of them ends Beagle 5.4 with a trace."""
    path = tmp_path / "a.map"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        GeneticMap.read(path)


def test_compressed_map_and_contigs_of_other_names(tmp_path):
    path = tmp_path / "a.map.gz"
    path.write_bytes(gzip.compress(b"c . 1 5\n"))
    with pytest.raises(InputError, match="it is no text; if it is compressed, gunzip it"):
        GeneticMap.read(path)
    path.write_text("chr1 . 1 5\nchr1 . 2 9\n")
    with pytest.raises(InputError, match="has no contig '1'; it has chr1: write 1 for chr1 in the map"):
        GeneticMap.read(path).require_contigs(["1"])
    GeneticMap.read(path).require_contigs(["chr1"])


def test_what_cannot_be_cut_is_refused():
    sites = sites_of(c=list(range(50)))
    with pytest.raises(InputError, match="windows of 9 sites are too small"):
        cut_by_sites(sites, 9)
    with pytest.raises(InputError, match="overlap by 25% at least and by less than 100%, not by 10%"):
        cut_by_sites(sites, 20, 0.1)
    with pytest.raises(InputError, match="windows of 0 cM"):
        cut_by_map(sites, 0, None)


def test_shares_of_a_site_sum_to_one_and_go_over_linearly():
    windows = cut_by_sites(sites_of(c=list(range(100)), d=list(range(30))), 40, 0.25)
    total = np.zeros(130)
    for number, window in enumerate(windows):
        total[window.sites] += weights_in(windows, number)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    one, other = windows[:2]
    falling = weights_in(windows, 0)[other.start - one.start :]
    steps = np.diff(falling)
    assert (steps < 0).all()
    np.testing.assert_allclose(steps, steps[0], atol=1e-6)
    owners = np.zeros(130, dtype=int)
    for number, window in enumerate(windows):
        owners[window.sites] += owned_by(windows, number)
    assert (owners == 1).all()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    panel = small_panel(n_sites=90)
    windows = cut_by_sites(panel.sites, 40)
    folder = tmp_path_factory.mktemp("model")
    for number, window in enumerate(windows):
        SoftmaxRegression().fit(panel.take_sites(window.sites)).save(WindowedModel.place(folder, number))
    about = {"name": "calves", "imputer": "softmax_regression", "params": {}}
    write_model(folder, about, panel.sites.assign(alt_frequency=panel.alt_frequency()), windows)
    return folder


def test_a_windowed_model_blends_its_windows(model: Path):
    loaded = WindowedModel.verified(model)
    target = small_panel(70, n_sites=90, missing=0).take_samples(np.arange(60, 70))
    hidden = np.arange(90) % 3 > 0
    masked = target.hide(hidden)
    posterior = loaded.posterior(masked)
    np.testing.assert_allclose(posterior.sum(axis=2), 1, atol=1e-5)
    assert (posterior.argmax(axis=2)[:, ~hidden] == target.calls[:, ~hidden]).all()
    whole = SoftmaxRegression().fit(small_panel(n_sites=90)).posterior(masked)
    assert (posterior.argmax(axis=2) == target.calls).mean() > (whole.argmax(axis=2) == target.calls).mean() - 0.05
    one, other = loaded.windows[:2]
    alone = [loaded.imputer(i).posterior(masked.take_sites(w.sites)) for i, w in enumerate((one, other))]
    inside = other.start - one.start
    np.testing.assert_allclose(posterior[:, :inside], alone[0][:, :inside], atol=1e-6)
    site = other.start + 1
    share = weights_in(loaded.windows, 0)[site - one.start]
    mixed = share * alone[0][:, site - one.start] + (1 - share) * alone[1][:, 1]
    np.testing.assert_allclose(posterior[:, site], mixed, atol=1e-5)
    with pytest.raises(InputError, match="model calves expects 90 sites"):
        loaded.posterior(masked.take_sites(slice(0, 50)))


def test_a_target_without_holes_needs_no_imputer(model: Path):
    complete = small_panel(5, n_sites=90, missing=0)
    posterior = WindowedModel(model).posterior(complete)
    np.testing.assert_allclose(posterior, np.eye(3)[complete.calls], atol=1e-6)


def test_a_window_whose_borders_are_no_numbers_is_refused(model: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    about = json.loads((copy / "model.json").read_text())
    about["windows"][0][1] = 0.5
    (copy / "model.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="is not one of this model's sites"):
        WindowedModel(copy)


def test_windows_of_an_even_map_have_the_length_asked_for():
    windows = cut_by_map(sites_of(c=list(range(0, 10_000_000, 10_000))), 2.0, None)
    assert {window.stop - window.start for window in windows} <= {200, 201, 202}
    assert windows[0].start == 0 and windows[-1].stop == 1000 and len(windows) == 7


def test_a_file_that_changed_is_found(model: Path, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    changed = WindowedModel.place(copy, 1) / "state" / "panel.npy"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\x02")
    with pytest.raises(InputError, match=r"panel\.npy is not as it was when the model was fitted"):
        WindowedModel.verified(copy)
    changed.unlink()
    with pytest.raises(InputError, match=r"panel\.npy is missing"):
        WindowedModel.verified(copy)
    with pytest.raises(InputError, match="holds no fitted model"):
        WindowedModel(tmp_path / "nothing")


def test_sites_named_like_missing_values_keep_their_names(tmp_path):
    panel = small_panel(n_sites=12)
    sites = panel.sites.assign(contig="NA", id=["null", "NaN", *panel.sites["id"].tolist()[2:]])
    write_model(tmp_path, {"name": "c", "imputer": "mode", "params": {}}, sites, [Window("NA", 0, 12)])
    read = WindowedModel(tmp_path).sites
    assert read["contig"].tolist() == ["NA"] * 12 and read["id"].tolist()[:2] == ["null", "NaN"]
