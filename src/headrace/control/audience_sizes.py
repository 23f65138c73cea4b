"""Use case: about how many members audiences have. The engine counts in a sample; here it becomes an estimate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from headrace.core.flow import PLATFORM_NAMESPACE

from . import access, engine
from .access import Caller, Permission
from .runtime import Runtime
from .segment_shapes import PLATFORM_SHOWN
from .service import Control

__all__ = ["audience_sizes"]

_NONE_SEEN: Final = 3
"""What none of n sampled profiles has, fewer than 3/n of all have, nineteen times of twenty."""
_DIGITS: Final = 2
"""Significant digits of an estimate: more would pretend to know."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """About how many members.

    Attributes:
        about: Members; where *below* is true there are fewer.
        exact: Every profile was counted.
        below: None was seen in the sample, which does not mean that there is none.
    """

    about: int
    exact: bool = False
    below: bool = False


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """About how many members audiences have.

    Attributes:
        profiles: Profiles that are stored.
        sampled: Profiles that were looked at.
        members: Audience (``namespace/id``) to how many of these are members.
        together: How many of these are members of one or more of the audiences that were asked for.
    """

    profiles: int
    sampled: int
    members: Mapping[str, int]
    together: int

    @property
    def exact(self) -> bool:
        """Every profile was looked at."""
        return self.sampled >= self.profiles

    def of(self, namespace: str, segment_id: str) -> Size:
        """Of one audience, under the namespace that memberships have or the one that the audiences API shows."""
        return self._size(self.members.get(_counted(namespace, segment_id), 0))

    def together_size(self) -> Size:
        """Of the audiences that were asked for, each member counted once."""
        return self._size(self.together)

    def _size(self, seen: int) -> Size:
        if self.exact:
            return Size(about=seen, exact=True)
        if seen == 0:
            return Size(about=_rounded(self.profiles * _NONE_SEEN // max(1, self.sampled)), below=True)
        return Size(about=_rounded(self.profiles * seen // self.sampled))


def _counted(namespace: str, segment_id: str) -> str:
    """What the engine counts an audience as: no audience of ours is filed under the name the API shows."""
    return f"{PLATFORM_NAMESPACE if namespace == PLATFORM_SHOWN else namespace}/{segment_id}"


def _rounded(count: int) -> int:
    beyond = max(0, len(str(count)) - _DIGITS)
    return round(count, -beyond)


def audience_sizes(
    control: Control, runtime: Runtime, caller: Caller, together: Iterable[tuple[str, str]] = ()
) -> Sizes:
    """About how many members audiences have; needs View Segments.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        together: (Namespace, id) of audiences whose members are counted together too.

    Raises:
        UseCaseError: 2120-403, 3016-503 or 3017-400.
    """
    access.require(caller, (Permission.VIEW_SEGMENTS,))
    engine.in_engines_sandbox(control, caller)
    wanted = [_counted(namespace, segment_id) for namespace, segment_id in together]
    found = engine.asked(runtime, "audience-sizes", any_of=wanted)
    return Sizes(profiles=found["profiles"], sampled=found["of"], members=found["members"], together=found["any"])
