"""Check that an audience's expression is one, as text or as JSON. Nothing is evaluated.

Forms: Segmentation Service API, ``expression``: type PQL or ARL, format pql/text or pql/json.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from headrace.core.report import Report

TYPES: Final = ("PQL", "ARL")
FORMATS: Final = ("pql/text", "pql/json")
MAX_CHARS: Final = 100_000
_TOKEN: Final = re.compile(r'\s+|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[()\[\]{}]|[^\s"\'()\[\]{}]+', re.DOTALL)
_CLOSES: Final = {")": "(", "]": "[", "}": "{"}
_MAX_DEPTH: Final = 200


def check(report: Report, value: Any, place: str) -> None:
    """Note what is wrong with an expression.

    Args:
        report: Takes the mistakes.
        value: The member ``expression``.
        place: Where it stands.
    """
    if value is None:
        report.mistake(place, "is missing", "type, format, value")
        return
    given = report.members(value, place, ("type", "format", "value", "meta"))
    if not isinstance(value, dict):
        return
    for name, allowed in (("type", TYPES), ("format", FORMATS)):
        if given.get(name) not in allowed:
            report.mistake(f"{place}.{name}", "is missing or not known", ", ".join(allowed))
    content = given.get("value")
    at = f"{place}.value"
    if not isinstance(content, str) or not content.strip():
        report.mistake(at, "must be text that is not empty")
    elif len(content) > MAX_CHARS:
        report.mistake(at, f"has {len(content)} characters", f"at most {MAX_CHARS}")
    else:
        problem = _json_problem(content) if given.get("format") == "pql/json" else _text_problem(content)
        if problem:
            report.mistake(at, problem)


def _json_problem(content: str) -> str:
    try:
        tree = msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return "is not JSON"
    pending = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        if not isinstance(node, dict) or not isinstance(node.get("nodeType"), str):
            return "holds a node that is not an object with a nodeType"
        if depth > _MAX_DEPTH:
            return f"is nested more than {_MAX_DEPTH} deep"
        params = node.get("params", [])
        if not isinstance(params, list):
            return "holds params that are not a list"
        pending += [(each, depth + 1) for each in params]
        if isinstance(node.get("object"), dict):
            pending.append((node["object"], depth + 1))
    return ""


def _text_problem(content: str) -> str:
    """Quotes that end and brackets that match: what can be said without evaluating."""
    position, open_brackets = 0, []
    while position < len(content):
        token = _TOKEN.match(content, position)
        if token is None:
            return f"has a quote at position {position} that does not end"
        text = token.group()
        if text in _CLOSES.values():
            open_brackets.append(text)
        elif text in _CLOSES and (not open_brackets or open_brackets.pop() != _CLOSES[text]):
            return f"has a {text} at position {position} that nothing opens"
        position = token.end()
    return f"has a {open_brackets[-1]} that nothing closes" if open_brackets else ""
