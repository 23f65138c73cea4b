"""The files under docs/samples are right as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.control.configuration import load
from headrace.destinations.kinesis.spec import SPEC

SAMPLES = sorted((Path(__file__).parents[2] / "docs" / "samples").glob("*.yaml"))
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-key"}


def test_there_are_samples() -> None:
    """The folder is where this test looks."""
    assert SAMPLES


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_configuration_has_no_mistake_and_no_warning(path: Path) -> None:
    """Each sample configuration is accepted whole, with a flow, once its variables are set."""
    configuration = load(path, {SPEC.id: SPEC}, ENVIRONMENT)
    assert configuration.warnings == []
    assert configuration.targets
