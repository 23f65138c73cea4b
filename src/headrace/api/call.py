"""A request as an operation sees it: who calls, path, query, body; read strictly, with every refusal worded."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Final

import msgspec

from headrace.control import paging
from headrace.control.access import Caller
from headrace.control.paging import Listing
from headrace.control.problems import Code, problem
from headrace.control.runtime import Runtime
from headrace.control.service import Control

MAX_DEPTH: Final = 64
"""Nesting of a body; what is deeper is no resource."""
MAX_FIELDS: Final = 400
"""Parameters in one query."""
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_FLAGS: Final = {"true": True, "false": False}


After = Callable[[], Coroutine[Any, Any, None]]
"""Done once an answer is sent."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation answers.

    Attributes:
        content: Encoded as JSON; None for no body.
        status: HTTP status.
        headers: Besides the usual ones.
        after: Done once the answer is sent.
    """

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = {}
    after: After | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        control: The parts of the control plane.
        runtime: The engine.
        caller: Who calls; nobody for an open operation.
        path: Parameters of the path.
        query: Parameters of the query, each with all of its values.
        raw: The body.
        if_match: The header.
        address: Where the call comes from.
        base_url: Scheme, host and port that the caller used, without a closing slash.
    """

    control: Control
    runtime: Runtime
    caller: Caller
    path: Mapping[str, str] = {}
    query: Mapping[str, tuple[str, ...]] = {}
    raw: bytes = b""
    if_match: str | None = None
    address: str = ""
    base_url: str = ""

    def one(self, name: str) -> str | None:
        """A parameter's value; the last one when it is there several times.

        Raises:
            UseCaseError: 1452-400, it holds what nothing stores.
        """
        values = self.query.get(name)
        if not values:
            return None
        if _UNSTORABLE.search(values[-1]):
            raise problem(Code.BAD_VALUE, f"{name} holds characters that no resource does")
        return values[-1]

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a parameter."""
        return self.query.get(name, ())

    def whole(self, name: str, default: int | None = None) -> int | None:
        """A parameter that is a whole number of at most 15 digits.

        Raises:
            UseCaseError: 1451-400.
        """
        text = self.one(name)
        if text is None:
            return default
        digits = text.strip()
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 15):
            raise problem(Code.BAD_PARAMETER, f"{name} must be a whole number, not {text[:40]!r}")
        return int(digits)

    def flag(self, name: str) -> bool | None:
        """A parameter that is true or false, in any case.

        Raises:
            UseCaseError: 1451-400.
        """
        text = self.one(name)
        if text is None or not text.strip():
            return None
        value = _FLAGS.get(text.strip().lower())
        if value is None:
            raise problem(Code.BAD_PARAMETER, f"{name} must be true or false, not {text[:40]!r}")
        return value

    def listing(self) -> Listing:
        """The list parameters of the Flow Service, read; errors as of ``paging.read``."""
        return paging.read(
            limit=self.one("limit"),
            orderby=self.one("orderby"),
            count=self.one("count"),
            properties=self.all("property"),
            token=self.one("continuationToken"),
        )

    def body(self) -> Any:
        """The body as JSON values; None when there is none. Errors as of ``read_json``."""
        return read_json(self.raw)

    def form(self) -> dict[str, str]:
        """The body as a form, the last value of each field.

        Raises:
            UseCaseError: 3018-400.
        """
        try:
            pairs = urllib.parse.parse_qsl(
                self.raw.decode(), keep_blank_values=True, strict_parsing=bool(self.raw), max_num_fields=MAX_FIELDS
            )
        except ValueError:
            raise problem(Code.MALFORMED, "the body is not a form (application/x-www-form-urlencoded)") from None
        return dict(pairs)


def read_json(raw: bytes) -> Any:
    """A body as JSON values; None when it is empty.

    Raises:
        UseCaseError: 3018-400; it is not JSON, is nested too deeply, or holds characters that nothing stores.
    """
    if not raw.strip():
        return None
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Its words name a byte, never what stands there.
        words = str(error) if isinstance(error, msgspec.DecodeError) else "nested too deeply or not UTF-8"
        raise problem(Code.MALFORMED, f"the body is not JSON: {words}") from None
    _check(value, 0)
    return value


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise problem(Code.MALFORMED, f"the body is nested deeper than {MAX_DEPTH}")
    match value:
        case str():
            if _UNSTORABLE.search(value):
                raise problem(Code.MALFORMED, "a text of the body holds a NUL or half of a surrogate pair")
        case dict():
            for name, each in value.items():
                _check(name, depth)
                _check(each, depth + 1)
        case list():
            for each in value:
                _check(each, depth + 1)
        case _:
            pass


def read_query(text: str, allowed: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The parameters of a query, each with all of its values.

    Raises:
        UseCaseError: 1451-400, one is not known, or there are too many.
    """
    if not text:
        return {}
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise problem(Code.BAD_PARAMETER, f"the query has more than {MAX_FIELDS} parameters") from None
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if name not in allowed:
            raise problem(
                Code.BAD_PARAMETER,
                f"invalid query param {name[:60]!r}; this operation takes {', '.join(sorted(allowed)) or 'none'}",
            )
        found[name] = (*found.get(name, ()), value)
    return found
