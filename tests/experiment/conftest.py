"""Reports of experiments have blank pictures here: drawing them takes a second each time, and tests/report looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def blank_pictures() -> Iterator[None]:
    """Writes one white dot in the place of each picture that this process would draw."""
    from PIL import Image

    blank = BytesIO()
    Image.new("RGB", (1, 1), "white").save(blank, "PNG")

    def draw(_: object, path: Path) -> None:
        path.write_bytes(blank.getvalue())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snpimpute.report.draw_png", draw)
        yield
