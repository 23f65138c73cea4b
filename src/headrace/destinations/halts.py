"""What a dispatcher tells of itself."""

from __future__ import annotations

import msgspec


class Halt(msgspec.Struct, frozen=True):
    """Why nothing of the flow is accepted: the destination's code and words."""

    code: str
    detail: str


class Counts(msgspec.Struct):
    """What happened on the way, since the start.

    Attributes:
        requests: Requests written.
        retried: Records written again after a certain refusal.
        possible_duplicates: Records written again although their fate was unknown.
        throttled: Refusals by code.
    """

    requests: int = 0
    retried: int = 0
    possible_duplicates: int = 0
    refusals: dict[str, int] = {}
