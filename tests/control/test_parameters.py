"""Parameters against their description."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.control import parameters
from headrace.core.report import Referenced, Report
from headrace.destinations.base import Parameter
from headrace.settings import Secret

PARAMETERS = (
    Parameter("text", "T", "A text."),
    Parameter("must", "M", "Needed.", required=True, pattern="[a-z]+", form="small letters"),
    Parameter("secret", "S", "Hidden.", secret=True, pattern="[a-z]+"),
    Parameter("flag", "F", "A flag.", "boolean", default=False),
    Parameter("count", "C", "A count.", "integer", default=5, least=1, most=9),
    Parameter("low", "L", "At least.", "integer", least=2),
    Parameter("high", "H", "At most.", "integer", most=2),
    Parameter("any", "A", "Any.", "integer"),
    Parameter("mode", "O", "A mode.", choices=("fast", "safe")),
)


def read(given: Any, accepted: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[str]]:
    report = Report()
    return parameters.read(report, given, PARAMETERS, "p", accepted), [str(mistake) for mistake in report.mistakes]


def test_what_is_right_is_taken() -> None:
    """Values are plain, defaults are filled in, absent ones stay away, and a secret is wrapped."""
    given = {"must": Referenced("x", "${env:X}"), "secret": "y", "flag": True, "low": 2, "mode": "safe", "other": 1}
    found, mistakes = read(given, ("other",))
    assert mistakes == []
    assert found == {"must": "x", "secret": Secret("y"), "flag": True, "count": 5, "low": 2, "mode": "safe"}
    assert type(found["must"]) is str
    for edge in ({"count": 1}, {"count": 9}, {"low": 2}, {"high": 2}):
        assert read({"must": "x", **edge})[1] == []
    assert read({"must": "x", "text": None})[0] == {"must": "x", "flag": False, "count": 5}


NAMES = "text, must, secret, flag, count, low, high, any, mode"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "p.must: is missing: Needed."),
        ({"must": ""}, "p.must: is empty: Needed."),
        ({"must": "A"}, "p.must: 'A' does not have the right form (allowed: small letters)"),
        ({"must": "a\n"}, "p.must: 'a\\n' does not have the right form (allowed: small letters)"),
        ({"must": 1}, "p.must: must be text, not a number; put it in quotes"),
        ({"must": ["a"]}, "p.must: must be text, not a list"),
        ({"must": "a", "secret": "KEY"}, "p.secret: the value does not have the right form (allowed: [a-z]+)"),
        ({"must": "a", "secret": 77}, "p.secret: must be text, not a number; put it in quotes"),
        ({"must": "a", "flag": "true"}, "p.flag: must be true or false, not text (allowed: true, false)"),
        ({"must": "a", "count": "1"}, "p.count: must be a whole number, not text (allowed: 1 to 9)"),
        ({"must": "a", "count": True}, "p.count: must be a whole number, not true or false (allowed: 1 to 9)"),
        ({"must": "a", "count": 10}, "p.count: 10 is out of range (allowed: 1 to 9)"),
        ({"must": "a", "count": 0}, "p.count: 0 is out of range (allowed: 1 to 9)"),
        ({"must": "a", "low": 1}, "p.low: 1 is out of range (allowed: at least 2)"),
        ({"must": "a", "high": 3}, "p.high: 3 is out of range (allowed: at most 2)"),
        ({"must": "a", "any": 1.5}, "p.any: must be a whole number, not a number"),
        ({"must": "a", "mode": "slow"}, "p.mode: 'slow' is not known (allowed: fast, safe)"),
        ({"must": "a", "Mode": "safe"}, f"p.Mode: unknown key (allowed: {NAMES})"),
        (
            {"must": Referenced("KEY", "${env:K}")},
            "p.must: '${env:K}' does not have the right form (allowed: small letters)",
        ),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, Any], line: str) -> None:
    """One line for each, and never a secret's or a reference's value."""
    assert read(given)[1] == [line]
