"""Made of ``core/native``; see ``core/plain.py``."""

from collections.abc import Callable
from typing import Any

from headrace.core.model import Cause, Export, Identity

def use(
    identity: type[Identity], cause: type[Cause], export: type[Export], bucket_of: Callable[[str], int],
    nothing: list[Any], /,
) -> None: ...  # fmt: skip
def scan(body: bytes, /) -> tuple[list[Identity], Identity, str | None, bytes] | None: ...
def apply(
    stored: bytes | None, note: bytes, identities: list[Identity], profile_id: str, ordinal: int, now_ms: int,
    now: str, plan: Any, exports: list[list[tuple[int, Export, bytes | None]]], /,
) -> tuple[
    bytes | None, tuple[str, ...], int, int, int, int, list[tuple[str, bool, str]],
] | None: ...  # fmt: skip
def plan(version: str, quoted: bytes, flows: list[tuple[Any, ...]], /) -> Any: ...
