"""Check the parameters of a connection against the destination's description of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from headrace.core.report import Report, kind, shown
from headrace.destinations.base import Parameter
from headrace.settings import Secret


def read(
    report: Report, value: Any, parameters: Sequence[Parameter], place: str, accepted: Collection[str] = ()
) -> dict[str, Any]:
    """Read parameters: plain values by name, defaults filled in, secret ones as ``Secret``.

    Args:
        report: Takes the mistakes; none of them shows a secret parameter's value.
        value: The member ``params``.
        parameters: What the destination knows.
        place: Where they stand.
        accepted: Further names, which somebody else reads.
    """
    given = report.members(value, place, [each.name for each in parameters], accepted)
    found: dict[str, Any] = {}
    for parameter in parameters:
        at = f"{place}.{parameter.name}"
        one = given.get(parameter.name)
        if one is None:
            if parameter.required:
                report.mistake(at, f"is missing: {parameter.help}")
            elif parameter.default is not None:
                found[parameter.name] = parameter.default
            continue
        problem, allowed = _problem(parameter, one)
        if problem:
            report.mistake(at, problem, allowed)
            continue
        plain = str(one) if isinstance(one, str) else one
        found[parameter.name] = Secret(plain) if parameter.secret else plain
    return found


def _problem(parameter: Parameter, value: Any) -> tuple[str, str]:
    """What is wrong with a value, and what is allowed; two empty texts when nothing is."""
    value_shown = "the value" if parameter.secret else shown(value)
    match parameter.type:
        case "boolean":
            wrong = not isinstance(value, bool)
            return (f"must be true or false, not {kind(value)}", "true, false") if wrong else ("", "")
        case "integer":
            if isinstance(value, bool) or not isinstance(value, int):
                return f"must be a whole number, not {kind(value)}", _range(parameter)
            low = parameter.least is not None and value < parameter.least
            high = parameter.most is not None and value > parameter.most
            return (f"{value_shown} is out of range", _range(parameter)) if low or high else ("", "")
        case _:
            if not isinstance(value, str):
                quote = "; put it in quotes" if isinstance(value, bool | int | float) else ""
                return f"must be text, not {kind(value)}{quote}", ""
    return _text_problem(parameter, value, value_shown)


def _text_problem(parameter: Parameter, value: str, value_shown: str) -> tuple[str, str]:
    if not value and parameter.required:
        return f"is empty: {parameter.help}", ""
    if parameter.choices and value not in parameter.choices:
        return f"{value_shown} is not known", ", ".join(parameter.choices)
    if parameter.pattern and not re.fullmatch(parameter.pattern, value):
        return f"{value_shown} does not have the right form", parameter.form or parameter.pattern
    return "", ""


def _range(parameter: Parameter) -> str:
    if parameter.least is None and parameter.most is None:
        return ""
    if parameter.most is None:
        return f"at least {parameter.least}"
    return f"at most {parameter.most}" if parameter.least is None else f"{parameter.least} to {parameter.most}"
