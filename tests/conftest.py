"""How generated tests run: no test has a deadline, since none may depend on how fast the machine is."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Shared suites are imported from several folders: a failing assertion of theirs says what differed all the same.
pytest.register_assert_rewrite("tests.runtimes.contract", "tests.runtimes.road")

_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("here", _PATIENT, max_examples=100)
# In CI the same cases run each time, so that what failed there fails again.
settings.register_profile("ci", _PATIENT, max_examples=100, derandomize=True)
# `make check` wants an answer within a minute.
settings.register_profile("quick", _PATIENT, max_examples=15, derandomize=True)
# `make soak` looks for what is rare.
settings.register_profile("soak", _PATIENT, max_examples=3000)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether this is `make soak`: tests with two sizes take the larger one, and note what came of it."""
    return bool(os.environ.get("HEADRACE_SOAK"))
