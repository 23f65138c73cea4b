"""Made of ``core/native``; see ``core/plain.py``."""

from collections.abc import Sequence
from typing import Any

from headrace.core.model import Cause, Export, Identity

def use(identity: type[Identity], cause: type[Cause], export: type[Export], nothing: list[Any], /) -> None: ...
def scan(body: bytes, /) -> tuple[list[Identity], Identity, str | None, bytes] | None: ...
def apply(
    stored: bytes | None, note: bytes, identities: list[Identity], profile_id: str, ordinal: int, now_ms: int,
    now: str, plan: Any, exports: list[list[Any]], /,
) -> tuple[
    bytes | None, tuple[str, ...], int, int, int, int, list[tuple[str, bool, str]],
] | None: ...  # fmt: skip
def plan(version: str, quoted: bytes, flows: list[tuple[Any, ...]], /) -> Any: ...

class Slice:
    def __init__(
        self, given: tuple[Any, ...], now_ms: int, now: str, base_from: int, most_identities: int,
        stitches_all: bool, heeds_ids: bool,
    ) -> None: ...  # fmt: skip
    def clear(self) -> None: ...
    def read(
        self, bodies: Sequence[bytes], ids: Sequence[str | None] | None, start: int, end: int, batch: int,
        source: int, /,
    ) -> int: ...  # fmt: skip
    def leave(self) -> None: ...
    def look(self) -> tuple[list[bytes], list[str], list[list[bytes]], list[bytes]]: ...
    def decide(self, at: int, ordinal: int, /) -> int: ...
    def left(self, at: int, /) -> tuple[bytes, bytes | None, int, int, int] | None: ...
    def told(
        self,
    ) -> tuple[list[tuple[str, int, str, bool, str]], list[tuple[tuple[str, ...], str]]] | None: ...
    def counted(self) -> tuple[int, int, int, list[int], list[tuple[int, tuple[int, ...]]]]: ...
