"""The position in a stream: how far each shard was read, and what is known of those that were never.

A shard that is not in the position was made after the first opening, so it is read from its beginning. One that was
there then is read from where the reading was told to begin.
"""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.sources.kinesis.address import Start

FORMAT: Final = 1


class Place(msgspec.Struct, array_like=True, omit_defaults=True):
    """How far one shard was read.

    Attributes:
        sequence: Sequence number of the last record that anything was given of; empty before the first.
        part: How many updates of that record were given; 0 for all.
        done: The shard is closed and was read to its end.
    """

    sequence: str = ""
    part: int = 0
    done: bool = False


class Places(msgspec.Struct):
    """A position, as it is kept, as JSON.

    Attributes:
        format: Version of this encoding.
        created_ms: When the stream was made, so that another of the same name is noticed; 0 where it is not told.
        start: Where shards that were there at the first opening begin.
        shards: By shard id.
    """

    format: int
    created_ms: int
    start: Start
    shards: dict[str, Place]


def encode(places: Places) -> bytes:
    """As it is kept."""
    return msgspec.json.encode(places)


def decode(position: bytes) -> Places | None:
    """A position that was kept; None where another version wrote it."""
    try:
        found = msgspec.json.decode(position, type=Places)
    except msgspec.DecodeError:
        return None
    return found if found.format == FORMAT else None
