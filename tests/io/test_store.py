"""Object stores by fsspec alone: fetched whole or not at all, tried before they are written, and named when they are not set up.

A file system in memory stands for the store of gs://; that of s3:// has a server in tests/cluster.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from snpimpute.base.errors import InputError
from snpimpute.cluster.exchange import Exchange
from snpimpute.io.store import fetched, sent, sent_report


class Bucket(MemoryFileSystem):
    """Store of gs://, whose objects say of their content what Google's do."""

    protocol = "gs"
    store: dict[str, Any] = {}
    pseudo_dirs: list[str] = [""]
    written_meanwhile = False
    cut = False
    refuses = False

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return super()._strip_protocol(str(path).removeprefix("gs:/"))

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        found = super().info(path, **options)
        return found | ({"etag": str(hash(self.cat_file(path)))} if found["type"] == "file" else {})

    def get_file(self, rpath: str, lpath: Any, **options: Any) -> None:
        super().get_file(rpath, lpath, **options)
        if self.cut:
            Path(lpath).write_bytes(Path(lpath).read_bytes()[:-1])
        if self.written_meanwhile:
            self.pipe_file(rpath, b"of another time")

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        if self.refuses:
            raise PermissionError("no rights")
        super().pipe_file(path, value, **options)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", Bucket)
    Bucket.store.clear()
    yield Bucket()
    for name in ("written_meanwhile", "cut", "refuses"):
        setattr(Bucket, name, False)


def test_files_and_exchange(bucket: Bucket, tmp_path: Path) -> None:
    bucket.pipe_file("/lab/a.vcf", b"records")
    bucket.pipe_file("/lab/model/plan.json", b"{}")
    assert fetched(Path("gs://lab/a.vcf"), tmp_path).read_text() == "records"
    assert (fetched(Path("gs://lab/model"), tmp_path) / "plan.json").read_text() == "{}"
    with sent(Path("gs://lab/out/b.vcf"), False) as path:
        assert path is not None
        path.write_text("imputed")
    with sent_report(Path("gs://lab/report"), ("page.html", "a.tsv"), False) as folder:
        (folder / "a.tsv").write_text("a")
        (folder / "page.html").write_text("page")
    assert bucket.find("/lab/out") == ["/lab/out/b.vcf"] and bucket.cat_file("/lab/out/b.vcf") == b"imputed"
    assert bucket.find("/lab/report") == ["/lab/report/a.tsv", "/lab/report/page.html"]
    exchange = Exchange("gs://lab/exchange")
    (tmp_path / "source").write_text("content")
    exchange.get(exchange.put(tmp_path / "source", under="a"), tmp_path / "to")
    assert (tmp_path / "to").read_text() == "content" and exchange.folders() == ["a"]
    exchange.remove("a")
    assert bucket.find("/lab/exchange") == []


def test_an_object_that_changes_while_it_is_fetched_is_not_kept(bucket: Bucket, tmp_path: Path) -> None:
    for damage, told in (
        ("written_meanwhile", r"gs://lab/a\.vcf was changed while it was fetched: run the command again"),
        ("cut", r"gs://lab/a\.vcf came incomplete \(6 of 7 bytes\)"),
    ):
        bucket.pipe_file("/lab/a.vcf", b"records")
        setattr(Bucket, damage, True)
        with pytest.raises(InputError, match=told):
            fetched(Path("gs://lab/a.vcf"), tmp_path)
        setattr(Bucket, damage, False)
        assert list((tmp_path / "fetched").iterdir()) == []


def test_rights_to_write_are_tried_before_the_work(bucket: Bucket) -> None:
    Bucket.refuses = True
    for place in (sent(Path("gs://lab/b.vcf"), False), sent_report(Path("gs://lab/r"), ("page.html",), False)):
        with pytest.raises(InputError, match=r"cannot write gs://lab/(b\.vcf|r): no rights"), place:
            raise AssertionError("work begins")


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs"), ("abfs", "adlfs")])
def test_a_store_without_its_package_is_one_line(
    scheme: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
    told = rf"{scheme}://lab/a.vcf cannot be used: {package} is not installed: pip install {package}"
    with pytest.raises(InputError, match=told):
        fetched(Path(f"{scheme}://lab/a.vcf"), tmp_path)
    with pytest.raises(InputError, match=told):
        Exchange(f"{scheme}://lab/a.vcf")
