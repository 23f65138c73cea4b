"""Names of inputs on the command line: which source each makes, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.bootstrap import make_inputs
from headrace.errors import RefusedError


def test_each_name_makes_its_source(tmp_path: Path) -> None:
    """By its scheme; without one it is a path."""
    file = tmp_path / "updates.jsonl"
    names = ["-", str(file), "kinesis://s?region=eu-west-1", "kafka://a:9092/t"]
    made = make_inputs(names, follow=True)
    assert [source.id for source in made] == ["stdin", f"jsonl:{file}", "kinesis:eu-west-1/s", "kafka:headrace/t"]


@pytest.mark.parametrize("name", ["updates.jsonl", "kinesis://s?region=eu-west-1", "kafka://a:9092/t"])
def test_the_same_is_not_read_twice(name: str) -> None:
    """Two positions of one source would be one."""
    with pytest.raises(RefusedError, match="twice"):
        make_inputs([name, name], follow=False)


def test_an_unknown_scheme_is_named_with_those_that_are() -> None:
    """It is not taken for a path."""
    with pytest.raises(RefusedError, match=r"s3:// is no kind of input .*kinesis://.*kafka://"):
        make_inputs(["s3://bucket/key"], follow=False)
