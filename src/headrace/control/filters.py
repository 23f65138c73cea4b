r"""The ``property`` filters of lists: read, matched against items, and narrowed to what a store can look up.

    filter   := path operator value { "," value }
    path     := name [ "[]" ] { "." name [ "[]" ] }        [] steps into an array: any of its elements
    operator := "==" | "=" | "!=" | ">" | ">=" | "<" | "<="
    value    := text without comma | '"' text '"'          \" and \\ within quotes

Several values mean any of them (``==``) and several filters mean all of them. Texts are equal exactly, except that
``state`` and ``status`` are compared without case (published samples differ in it). Numbers compare as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from headrace.core.report import shown

from .problems import Code, problem

_HEAD: Final = re.compile(r"\s*([^=!<>~]*?)\s*([=!<>~]+)\s*(.*?)\s*", re.DOTALL)
_STEP: Final = re.compile(r"([A-Za-z0-9_@$:-]+)((?:\[\])?)")
_OPERATORS: Final = {"==": "==", "=": "==", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}
_ELSEWHERE: Final = frozenset({"~", "=~", "~=", "!~"})
_ORDERED: Final = frozenset({">", ">=", "<", "<="})
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_WITHOUT_ORDER: Final = frozenset({"id", "name", "description", "state", "status"})
_WITHOUT_CASE: Final = frozenset({"state", "status"})
_NUMERIC: Final = frozenset({"createdAt", "updatedAt"})

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

MAX_FILTERS: Final = 50
MAX_VALUES: Final = 1000


def storable(text: str) -> bool:
    """False for a text that a database refuses: with a NUL, or half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


class Filter(NamedTuple):
    """One filter.

    Attributes:
        path: Names, each with whether it steps into an array.
        operator: ``==``, ``!=``, ``>``, ``>=``, ``<`` or ``<=``.
        values: One or more texts; several only with ``==``.
    """

    path: tuple[tuple[str, bool], ...]
    operator: str
    values: tuple[str, ...]

    @property
    def field(self) -> str:
        """The path as text."""
        return ".".join(name + ("[]" if steps else "") for name, steps in self.path)

    def matches(self, item: Mapping[str, Any]) -> bool:
        """True when the item passes: some value at the path does, or for ``!=`` none is equal."""
        without_case = self.path[-1][0] in _WITHOUT_CASE
        found = _at(item, self.path)
        if self.operator == "!=":
            return not any(_equal(value, self.values[0], without_case=without_case) for value in found)
        if self.operator == "==":
            return any(_equal(value, text, without_case=without_case) for value in found for text in self.values)
        return any(_compare(value, self.operator, self.values[0]) for value in found)


def parse(text: str) -> Filter:
    """Read one filter.

    Raises:
        UseCaseError: 1440-400, 1443-400, 1448-400, 1449-400, 1450-400, 1452-400 or 1453-400.
    """
    if not storable(text):
        raise problem(Code.BAD_VALUE, "a filter holds characters that no resource does")
    head = _HEAD.fullmatch(text)
    if head is None:
        raise problem(Code.BAD_OPERATOR, f"{shown(text)} holds no operator; use {', '.join(_OPERATORS)}")
    field, given, rest = head.groups()
    operator = _OPERATORS.get(given)
    if given in _ELSEWHERE:
        raise problem(Code.OPERATOR_NOT_IMPLEMENTED, f"operator {given!r} not implemented; use ==")
    if operator is None:
        raise problem(Code.BAD_OPERATOR, f"invalid operator {given} in filter params; use {', '.join(_OPERATORS)}")
    path = _path(field)
    values = _values(rest, text)
    if len(values) > 1 and operator != "==":
        raise problem(Code.OPERATOR_NOT_FOR_LISTS, f"operator {given!r} is not allowed for multiple values; use ==")
    name = path[-1][0]
    if operator in _ORDERED and (name in _WITHOUT_ORDER or name.endswith(("Id", "Ids"))):
        raise problem(Code.OPERATOR_NOT_FOR_FIELD, f"operator {given} not supported for field {field}")
    if name in _NUMERIC and not all(_NUMBER.fullmatch(value) for value in values):
        raise problem(Code.BAD_VALUE, f"invalid value {shown(rest)} for field {field}: milliseconds since 1970")
    return Filter(path, operator, values)


def parse_all(texts: Sequence[str]) -> list[Filter]:
    """Read the filters of one request; errors as of ``parse``, and 1451-400 for too many."""
    if len(texts) > MAX_FILTERS:
        raise problem(Code.BAD_PARAMETER, f"{len(texts)} filters are more than {MAX_FILTERS}")
    return [parse(text) for text in texts]


def _path(field: str) -> tuple[tuple[str, bool], ...]:
    steps = []
    for part in field.split("."):
        step = _STEP.fullmatch(part)
        if step is None:
            raise problem(Code.BAD_FIELD, f"invalid field {shown(field)} in filter params: names separated by dots")
        steps.append((step[1], bool(step[2])))
    return tuple(steps)


def _values(rest: str, text: str) -> tuple[str, ...]:
    values = tuple(_split(rest))
    if not rest or any(value is None for value in values):
        raise problem(Code.NO_VALUE, f"invalid query value {shown(text)} provided in query param: a value is missing")
    if len(values) > MAX_VALUES:
        raise problem(Code.BAD_VALUE, f"{len(values)} values are more than {MAX_VALUES}")
    return tuple(value for value in values if value is not None)


def _split(rest: str) -> Iterator[str | None]:
    """The values between commas; None for an empty one or a quote that does not end."""
    position = 0
    while True:
        quoted = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*(?=,|$)', re.DOTALL).match(rest, position)
        if quoted:
            yield re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
            position = quoted.end()
        else:
            end = rest.find(",", position)
            end = len(rest) if end < 0 else end
            plain = rest[position:end].strip()
            yield plain if plain and not plain.startswith('"') else None
            position = end
        if position >= len(rest):
            return
        position += 1


def _at(value: Any, path: Sequence[tuple[str, bool]]) -> Iterator[Any]:
    """Every value that the path leads to; arrays are entered only by ``[]``."""
    if not path:
        if value is not None and not isinstance(value, Mapping | list):
            yield value
        return
    if not isinstance(value, Mapping):
        return
    (name, enters), rest = path[0], path[1:]
    found = value.get(name)
    if not enters:
        yield from _at(found, rest)
    elif isinstance(found, list):
        for element in found:
            yield from _at(element, rest)


def _equal(value: Any, text: str, *, without_case: bool) -> bool:
    if isinstance(value, bool):
        return text.lower() == ("true" if value else "false")
    if isinstance(value, int | float):
        return _NUMBER.fullmatch(text) is not None and _number(text) == value
    return str(value).lower() == text.lower() if without_case else str(value) == text


def _compare(value: Any, operator: str, text: str) -> bool:
    """Numbers as numbers; texts (dates of ISO 8601) by their characters; nothing else has an order."""
    left: Any
    right: Any
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        if not _NUMBER.fullmatch(text):
            return False
        left, right = value, _number(text)
    else:
        left, right = str(value), text
    match operator:
        case ">":
            return bool(left > right)
        case ">=":
            return bool(left >= right)
        case "<":
            return bool(left < right)
        case _:
            return bool(left <= right)


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


class Narrowed(NamedTuple):
    """What of the filters a store can look up; an item still has to pass the rest.

    Attributes:
        ids: Allowed ids, None for any.
        names: Allowed names.
        refers: Ids of which the record must use one; None when it may use any.
        rest: Filters that were not narrowed to the above.
    """

    ids: frozenset[str] | None
    names: frozenset[str] | None
    refers: frozenset[str] | None
    rest: list[Filter]


_REFERRING: Final = frozenset({"flowId", "baseConnectionId", "sourceConnectionIds[]", "targetConnectionIds[]"})


def narrow(filters: Sequence[Filter]) -> Narrowed:
    """Take out of the filters what a store answers by its indexes; the first of a field counts, others stay."""
    ids: frozenset[str] | None = None
    names: frozenset[str] | None = None
    refers: frozenset[str] | None = None
    rest: list[Filter] = []
    for each in filters:
        values = frozenset(each.values)
        if each.operator != "==":
            rest.append(each)
        elif each.field == "id" and ids is None:
            ids = values
        elif each.field == "name" and names is None:
            names = values
        else:
            if each.field in _REFERRING and refers is None:
                # Still matched afterwards: a flow refers to its sources and its targets alike.
                refers = values
            rest.append(each)
    return Narrowed(ids, names, refers, rest)
