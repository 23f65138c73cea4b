"""The files under docs/samples are right as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.control.configuration import load
from headrace.destinations.kinesis.spec import SPEC
from headrace.testing import Child
from tests.cli.commands import headrace

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


@pytest.mark.slow
def test_the_sample_of_updates_runs_with_the_sample_configuration(tmp_path: Path) -> None:
    """Of its ten lines eight are taken and exported, and two are dead letters, as the README says."""
    updates = SAMPLES[0].with_name("updates.jsonl")
    with Child(streams={"prospects": 1}) as kinesis:
        config = tmp_path / "kinesis.yaml"
        region = "region: eu-west-1\n"
        text = SAMPLES[0].read_text(encoding="utf-8")
        config.write_text(text.replace(region, f"{region}        endpointUrl: {kinesis.url}\n"), encoding="utf-8")
        done = headrace("run", "--config", config, "--input", updates, data=tmp_path / "data", env=ENVIRONMENT)
    assert done.code == 3, done
    totals = headrace("status", "--json", data=tmp_path / "data").json["totals"]
    assert (totals["received"], totals["accepted"], totals["profiles"]) == (10, 8, 3)
    flow = totals["flows"]["prospects"]
    assert flow["delivered"] == flow["exported"] == 6
    letters = headrace("dead-letters", "list", "--json", data=tmp_path / "data").json
    assert [letter["place"] for letter in letters] == ["updates.jsonl line 8", "updates.jsonl line 5"]
