"""Which destinations there are: connection spec id to destination. Alone imports the concrete ones."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from headrace.destinations.kinesis import KINESIS
from headrace.destinations.memory import MEMORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.destinations.base import Destination

_ALL: Final[tuple[Destination, ...]] = (
    KINESIS,
    MEMORY,
)
_BY_ID: Final[Mapping[str, Destination]] = MappingProxyType({each.spec.id: each for each in _ALL})


def destinations() -> Mapping[str, Destination]:
    """Every destination by its connection spec id, in the order of the catalog; it cannot be changed."""
    return _BY_ID


def find(spec_id: str) -> Destination | None:
    """The destination with this connection spec id, or None."""
    return _BY_ID.get(spec_id)
