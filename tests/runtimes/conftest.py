"""Let a failing assertion of the shared suite say what differed."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.runtimes.contract", "tests.runtimes.road")
