"""Contents that go through an exchange: what is fetched is what was put, and a worker keeps what it used last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snpimpute.base.errors import InputError
from snpimpute.cluster.exchange import Cache, Exchange, put_copy


def test_a_part_comes_back_at_its_place_in_a_file_with_holes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(1, 101)))
    exchange, to = Exchange(str(tmp_path / "exchange")), tmp_path / "home" / "data"
    for start, stop in ((10, 20), (90, 100)):
        content = exchange.put(source, start, stop, under="a")
        assert content.size == 10
        put_copy(Cache(tmp_path / "cache").file(content, exchange), to, start, 100)
    found = to.read_bytes()
    assert found == bytes(10) + bytes(range(11, 21)) + bytes(70) + bytes(range(91, 101))


def test_what_was_changed_in_the_exchange_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("as it was")
    exchange = Exchange(str(tmp_path / "exchange"))
    content = exchange.put(tmp_path / "source", under="a")
    (tmp_path / "exchange" / content.key).write_text("otherwise")
    with pytest.raises(
        InputError, match=r"what was put into the exchange .*exchange of source is not there as it was put"
    ):
        exchange.get(content, tmp_path / "to")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("to")] == []


def test_a_copy_that_is_not_whole_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("as it was")
    exchange, cache = Exchange(str(tmp_path / "exchange")), Cache(tmp_path / "cache")
    content = exchange.put(tmp_path / "source", under="a")
    for damaged in ("as it", "As it was"):
        path = cache.file(content, exchange)
        path.chmod(0o644)
        path.write_text(damaged)
        assert cache.file(content, exchange).read_text() == "as it was"


def test_a_file_that_need_not_stay_is_moved(tmp_path: Path) -> None:
    source, exchange = tmp_path / "source", Exchange(str(tmp_path / "exchange"))
    source.write_text("made")
    number = source.stat().st_ino
    content = exchange.put(source, under="a", keep=False)
    assert not source.exists() and (tmp_path / "exchange" / content.key).stat().st_ino == number
    exchange.get(content, tmp_path / "to")
    assert (tmp_path / "to").read_text() == "made"


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    exchange, cache = Exchange(str(tmp_path / "exchange")), Cache(tmp_path / "cache", most=250)
    contents = []
    for number in range(3):
        (tmp_path / "source").write_bytes(bytes([number]) * 100)
        contents.append(exchange.put(tmp_path / "source", under="a"))
    first, second = (cache.file(content, exchange) for content in contents[:2])
    for path, used in ((first, 2000), (second, 1000)):
        os.utime(path, (used, used))
    third = cache.file(contents[2], exchange)
    cache.make_room()
    assert first.exists() and third.exists() and not second.exists()
    assert cache.file(contents[1], exchange).read_bytes() == bytes([1]) * 100
