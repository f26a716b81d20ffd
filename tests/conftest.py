"""What all tests share: failed assertions of the public contract tests are explained like those of the tests here."""

import pytest

pytest.register_assert_rewrite("snpimpute.imputers.testing")
