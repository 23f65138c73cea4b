"""The destinations' pages say what the code does."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import msgspec
import pytest

import headrace.destinations.kinesis.listing
import headrace.destinations.memory
from headrace.destinations.base import Verdict
from headrace.destinations.kinesis import KINESIS
from headrace.destinations.memory import MEMORY, Rule
from headrace.destinations.registry import destinations

PAGES = Path(__file__).parents[2] / "docs" / "destinations"


@pytest.mark.parametrize("name", [d.spec.name for d in destinations().values()])
def test_a_page_names_every_parameter_with_its_default(name: str) -> None:
    """A parameter that is not in the page's tables does not exist for a reader."""
    spec = next(d.spec for d in destinations().values() if d.spec.name == name)
    page = (PAGES / f"{name.split()[-1].lower()}.md").read_text()
    assert spec.id in page
    for auth in spec.auth:
        assert f"`{auth.name}`" in page
        for parameter in auth.parameters:
            assert re.search(rf"^\| `{parameter.name}` \| {'yes' if parameter.required else 'no'} \|", page, re.M)
    for parameter in spec.target:
        row = re.search(rf"^\| `{parameter.name}` \| ([^|]*) \|", page, re.M)
        assert row, parameter.name
        if parameter.required:
            assert row[1] == "required"
        elif parameter.default is not None:
            assert row[1].strip("`") == str(parameter.default).lower()


def test_the_policy_of_the_page_is_what_the_check_asks_for() -> None:
    """Valid JSON, the three actions and no other, ListStreams on everything."""
    page = (PAGES / "kinesis.md").read_text()
    (block,) = re.findall(r"```json\n(.*?)```", page, re.S)
    listing, puts = msgspec.json.decode(block)["Statement"]
    assert listing == {"Effect": "Allow", "Action": "kinesis:ListStreams", "Resource": "*"}
    assert [listing["Action"], *puts["Action"]] == list(KINESIS.spec.permissions)


def test_the_kinesis_page_names_every_verdict() -> None:
    """Each outcome has its row."""
    page = (PAGES / "kinesis.md").read_text()
    for verdict in Verdict:
        assert re.search(rf"^\| {verdict.name.lower()} \|", page, re.M), verdict


def test_the_memory_page_runs_and_names_every_field_of_a_rule() -> None:
    """The example is executed as it stands."""
    page = (PAGES / "memory.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(block, "memory.md", "exec"), {"__name__": "memory_page"})
    for field in Rule.__struct_fields__:
        assert f"`{field}`" in page
    assert MEMORY.spec.auth[0].parameters == ()


@pytest.mark.parametrize("module", [headrace.destinations.memory, headrace.destinations.kinesis.listing])
def test_examples_in_docstrings_run(module: object) -> None:
    """As written."""
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed
