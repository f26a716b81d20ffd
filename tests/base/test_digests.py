"""Digests: known ones, and that the order of keys does not matter."""

from __future__ import annotations

import hashlib

from snpimpute.base.digests import digest, file_digest


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"ACGT" * 100_000)
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"ACGT" * 100_000).hexdigest()
