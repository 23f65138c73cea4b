"""Log lines of a test, whatever was configured before it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import msgspec
import structlog

from headrace import logs


class Lines:
    """What was logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.text.splitlines()]


@contextlib.contextmanager
def logged() -> Iterator[Lines]:
    """Log as JSON into what is given, then as before."""
    before = structlog.get_config()
    found = Lines()
    logs.configure("info", "json", found.stream)
    try:
        yield found
    finally:
        structlog.configure(**before)
