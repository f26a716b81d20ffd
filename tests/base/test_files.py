"""Files that are complete or absent: arrays whose last bytes find no room, and where there is no temporary folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.files import no_room, save_array

CUT_SHORT = """
import resource, sys
from pathlib import Path
import numpy as np
from snpimpute.base.files import save_array
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
save_array(Path(sys.argv[1]), np.zeros(100, dtype=np.float32))
"""


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.array(["a", "bc"]), np.zeros((0, 4), np.int8)])
def test_arrays_read_back(array: np.ndarray, tmp_path: Path) -> None:
    save_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), array)


def test_an_array_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CUT_SHORT, tmp_path / "a.npy"], capture_output=True, text=True)
    assert done.returncode != 0 and "File too large" in done.stderr


def test_no_temporary_folder_is_told_as_such() -> None:
    error = FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")
    assert "TMPDIR" in no_room(error)
