"""Bytes that reading a stretch of a file comes to: a copy that has nothing else gives the same records."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.io import apart
from snpimpute.io.apart import contig_ends, parts_at, require_blocks
from snpimpute.io.bgzf import END_BLOCK
from snpimpute.io.plink import write_bed
from snpimpute.io.stream import streamed
from snpimpute.io.write_vcf import write_vcf

N_SAMPLES, N_SITES = 400, 700  # of each contig: some blocks of a bgzipped file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(1)
    rows = [(c, 1 + 7_001 * i, f"{c}_{i}", "A", "C") for c in ("2", "10") for i in range(N_SITES)]
    sites = pd.DataFrame(rows, columns=["contig", "pos", "id", "ref", "alt"])
    calls = rng.integers(-1, 3, (N_SAMPLES, len(sites))).astype(np.int8)
    matrix = GenotypeMatrix(calls, pd.DataFrame({"sample": [f"s{i}" for i in range(N_SAMPLES)]}), sites)
    made = {
        name: folder / name / f"file.{kind}"
        for name, kind in (("csi", "vcf.gz"), ("tbi", "vcf.gz"), ("bcf", "bcf"), ("bed", "bed"))
    }
    for name, path in made.items():
        path.parent.mkdir()
        if name == "bed":
            write_bed(path, matrix)
        elif name == "bcf":
            subprocess.run(["bcftools", "view", "-Ob", "-o", path, made["csi"]], check=True)
        else:
            write_vcf(path, matrix)
        if name != "bed":
            subprocess.run(["bcftools", "index", "-f", "-t" if name == "tbi" else "-c", path], check=True)
    return made


def copied(path: Path, regions: list[str], to: Path) -> tuple[Path, int]:
    """A copy with the parts of some regions alone, the rest of a file being zeros, and the bytes of the parts."""
    to.mkdir()
    n = 0
    for part in parts_at(path, regions):
        source, made = path.parent / part.name, to / part.name
        stop = source.stat().st_size if part.stop is None else part.stop
        with source.open("rb") as whole, made.open("r+b" if made.exists() else "wb") as out:
            out.truncate(source.stat().st_size)
            whole.seek(part.start)
            out.seek(part.start)
            written = out.write(whole.read(stop - part.start))
            n += written if part.name == path.name else 0
    return to / path.name, n


@pytest.mark.parametrize("name", ["csi", "bcf", "bed", pytest.param("tbi", marks=pytest.mark.panels)])
def test_a_copy_of_the_parts_gives_the_same_records(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    path = files[name]
    ends = contig_ends(path)
    assert (
        not isinstance(ends, str)
        and list(ends) == ["2", "10"]
        and all(end >= 7_001 * (N_SITES - 1) for end in ends.values())
    )
    for number, region in enumerate(("2:1-100000", "10:2000000-2500000", "10:4000000-9000000")):
        copy, n = copied(path, [region], tmp_path / str(number))
        assert n < (0.6 if name == "bed" else 0.9) * path.stat().st_size
        with streamed(path, copy, region=region) as (whole, part):
            for one, other in zip(whole.records, part.records, strict=True):
                assert (one.pos, one.id) == (other.pos, other.id)
                np.testing.assert_array_equal(one.alleles, other.alleles)


@pytest.mark.parametrize("name", ["csi", "bcf"])
def test_a_block_with_a_damaged_head_is_not_the_end(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    """By region htslib ends there without a word; in a copy of the parts as in the file itself."""
    data = bytearray(files[name].read_bytes())
    at = data.index(END_BLOCK[:4], len(data) // 2)
    data[at + 12] ^= 1
    path = tmp_path / files[name].name
    path.write_bytes(data)
    (tmp_path / f"{path.name}.csi").write_bytes(Path(f"{files[name]}.csi").read_bytes())
    for each in (path, copied(path, ["10:1-9000000"], tmp_path / "copy")[0]):
        refused = pytest.raises(InputError, match=rf"{path.name} is broken \(no block begins at its byte {at:,}\)")
        with refused, streamed(each, region="10:1-9000000"):
            pass


def test_every_block_of_a_region_is_looked_at_and_an_index_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks share the block in which one ends and the next one begins."""
    rng = np.random.default_rng(1)
    head = '##fileformat=VCFv4.2\n##contig=<ID=1>\n##INFO=<ID=X,Number=1,Type=String,Description="Noise">\n'
    lines = [f"1\t{100 * i}\t.\tA\tC\t.\t.\tX={rng.bytes(400).hex()}\n" for i in range(1, 3000)]
    text = tmp_path / "noise.vcf"
    text.write_text(head + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(lines))
    subprocess.run(["bgzip", text], check=True)
    path = tmp_path / "noise.vcf.gz"
    subprocess.run(["tabix", "-p", "vcf", path], check=True)
    monkeypatch.setattr(apart.gzip, "decompress", Mock(wraps=gzip.decompress))
    first, last = 100_000, 250_000
    for _ in range(3):
        require_blocks(path, f"1:{first}-{last}")
    assert apart.gzip.decompress.call_count == 1
    whole = path.read_bytes()
    starts = [found.start() for found in re.finditer(re.escape(END_BLOCK[:4]), whole)]
    found = []
    for at in starts[1:-1]:
        damaged = bytearray(whole)
        damaged[at] = 0
        path.write_bytes(damaged)
        try:
            require_blocks(path, f"1:{first}-{last}")
        except InputError as error:
            assert f"no block begins at its byte {at:,}" in str(error)
            found.append(starts.index(at))
    assert found == list(range(found[0], found[-1] + 1)) and len(found) > 0.5 * len(starts)


def test_what_is_in_the_way_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "file.vcf.gz"
    copy.write_bytes(files["csi"].read_bytes())
    assert contig_ends(copy) == "file.vcf.gz has no index"
    index = tmp_path / "file.vcf.gz.csi"
    index.write_bytes(b"no index")
    assert contig_ends(copy) == "the index of file.vcf.gz is broken"
    index.write_bytes(Path(f"{files['csi']}.csi").read_bytes())
    assert isinstance(contig_ends(copy), dict)
    whole, why = (
        copy.read_bytes(),
        "the index of file.vcf.gz does not end where the file does, as that of another version of it",
    )
    for other in (whole[:-28] + whole[len(whole) // 2 :], whole[: len(whole) // 2] + whole[-28:]):  # longer, and cut
        copy.write_bytes(other)
        os.utime(index)
        assert contig_ends(copy) == why
        with pytest.raises(InputError, match=f"{why}: bcftools index -f "), streamed(copy, region="2"):
            pass
    copy.write_bytes(whole + END_BLOCK)  # as files joined block by block end
    os.utime(index)
    assert isinstance(contig_ends(copy), dict)
    index.write_bytes(b"no index")
    with pytest.raises(InputError, match=r"the index of file.vcf.gz is broken: bcftools index -f "):
        require_blocks(copy, "2")
    os.utime(index, (1, 1))
    assert contig_ends(copy) == "the index of file.vcf.gz is older than the file"
    with pytest.raises(InputError, match=r"cannot read .*none"):
        contig_ends(tmp_path / "none.bcf")
