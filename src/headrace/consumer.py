"""For whoever reads the stream: drop repeats, see gaps, tell merges. One file, to be copied where it is needed.

Headrace promises at least once, and order per profile; after a restart the last messages about a profile may come
again, in order. With ``metadata: true`` in a flow's settings each message holds a block ``_headrace``, and this
module tells of each message whether it was taken before and how many are missing before it.

It needs the standard library and msgspec, does no I/O, and knows no clock::

    seen = Deduplicator()
    taken = seen.look(record_bytes)
    if not taken.is_repeat:
        ...  # apply taken.message; if that fails, nothing is remembered
    seen.keep(taken)

Holds always (tests/test_consumer.py checks each by its number):
    N1  What is called a repeat was kept before: of all that was never kept, nothing is dropped.
    N2  What was kept is called a repeat, however often and late it comes again, while its profile is remembered and
        no more than ``HOLES`` ranges of that profile's messages were missing.
    N3  A gap counts the messages between the highest kept and this one; one that comes after all is told as late.
    N4  Memory is bounded: by ``most`` profiles, and ``HOLES`` ranges of missing messages each.
    N5  What ``restore`` makes of ``snapshot`` answers as the one it was taken of.
    N6  ``look`` changes nothing.
"""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Self

import msgspec

BLOCK: Final = "_headrace"
HOLES: Final = 8
"""Most ranges of missing messages remembered of one profile; beyond it the two oldest are taken as one."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""Most that a compressed record may inflate to; no record of a stream is larger than 10 MiB."""

_FORMAT: Final = 1
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_KPL: Final = b"\xf3\x89\x9a\xc2"
_GZIP_WINDOW: Final = 31
_decode: Final = msgspec.json.Decoder().decode


class MessageError(ValueError):
    """A record that is no message of Headrace, or not in a form that this module reads. Holds none of its values."""


class NoMetadataError(MessageError):
    """A message without the block ``_headrace``."""

    def __init__(self) -> None:
        super().__init__(
            "the message has no _headrace block, so repeats and gaps cannot be told: "
            "set metadata: true in the flow's settings (transformations[0].params.headrace)"
        )


class SnapshotError(ValueError):
    """Bytes that are no snapshot, or one of a newer version."""


class Cause(msgspec.Struct, frozen=True):
    """Why a message was sent.

    Attributes:
        kind: live, backfill, re-send, catch-up, replay, original, delete, or test.
        triggers: Of segment, identity, attribute, consent: those that fired.
        paths: Mapped attribute paths that were written.
        joined: Mapped audiences entered, as ``namespace/id``.
        left: Mapped audiences left, as ``namespace/id``.
    """

    kind: str
    triggers: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The block ``_headrace``; fields that this version does not know are ignored.

    Attributes:
        export_id: The same whenever the same message is sent again.
        flow_id: The flow that sent it.
        profile_id: Whom it is about.
        epoch: Tells a profile from one of the same id that was deleted before; grows.
        seq: From 1, grows by one a message of this flow about this profile and epoch.
        profile_version: Of the profile's state.
        absorbed: Ids of profiles that were joined into this one since its last message.
        cause: Why it was sent.
        configuration: Version of the configuration that made it.
    """

    export_id: str
    flow_id: str
    profile_id: str
    epoch: int
    seq: int
    profile_version: int
    cause: Cause
    absorbed: tuple[str, ...] = ()
    configuration: str = ""


class Mark(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is remembered of one profile in one flow.

    Attributes:
        seq: The highest kept.
        export: Digest of its export id.
        missing: Ranges below it, first and last, that did not come; growing.
    """

    seq: int
    export: bytes
    missing: tuple[tuple[int, int], ...] = ()


class Taken(NamedTuple):
    """What one record is.

    Attributes:
        message: The message, decoded, without its block.
        metadata: The block.
        is_repeat: It was kept before: skip it.
        is_late: New, but behind a later message about its profile that was kept: a state since overtaken. Happens
            only where partition keys change, or with ``ordering: none``.
        gap: Messages about this profile that should have come between the last one kept and this one. They may be
            dead letters of the writer, be discarded with a counted reason, or come late.
        is_first: Nothing is remembered about this profile in this flow, so a gap before it cannot be told.
    """

    message: dict[str, Any]
    metadata: Metadata
    is_repeat: bool
    is_late: bool
    gap: int
    is_first: bool

    @property
    def is_test(self) -> bool:
        """A test record, about a person who is not: skip it."""
        return self.metadata.cause.kind == "test"

    @property
    def absorbed(self) -> tuple[str, ...]:
        """Ids of profiles that are this one from now on: all that was written about them was written before.

        On a shard that is read behind this one it may still be to come; whoever keeps the ids as names of this
        profile knows it for outdated.
        """
        return self.metadata.absorbed


def read(data: bytes) -> tuple[dict[str, Any], Metadata]:
    """Decode one record, plain or gzip.

    Args:
        data: The record's data, out of base64.

    Returns:
        The message without its block, and the block.

    Raises:
        NoMetadataError: It has no block.
        MessageError: It is something else.
    """
    if data[:2] == _GZIP:
        data = _inflated(data)
    elif data[:4] == _ZSTD:
        raise MessageError("the record is compressed with zstd: decompress it first")
    elif data[:4] == _KPL:
        raise MessageError("the record is an aggregate of the KPL's format: take it apart first, as the KCL does")
    try:
        message = _decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"the record is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise MessageError("the record is not a JSON object")
    block = message.pop(BLOCK, None)
    if block is None:
        raise NoMetadataError
    try:
        metadata = msgspec.convert(block, Metadata)
    except msgspec.ValidationError as error:
        raise MessageError(f"the block {BLOCK} is not Headrace's: {error}") from None
    if metadata.seq < 1:
        raise MessageError(f"the block {BLOCK} is not Headrace's: seq begins at 1")
    return message, metadata


def _inflated(data: bytes) -> bytes:
    inflate = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = inflate.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise MessageError(f"the record is not gzip: {error}") from None
    if not inflate.eof:
        raise MessageError(f"the record's gzip is cut off, or holds over {MOST_BYTES} bytes")
    return plain


class Deduplicator:
    """Remembers, of each flow's profiles, which messages were kept. Not for several threads at once.

    One can serve any number of streams and flows. Every message about a profile has to come by it: give each shard
    its own only where a profile stays on its shard.

    Args:
        most: Profiles remembered (each flow's counted apart), about 250 bytes each; who was longest not heard of
            is forgotten first. A repeat about a profile forgotten meanwhile passes for a first message.
    """

    def __init__(self, most: int = 100_000) -> None:
        if most < 1:
            raise ValueError(f"most is {most}: at least one profile is remembered")
        self.most = most
        self._marks: dict[bytes, Mark] = {}

    def __len__(self) -> int:
        """Profiles remembered."""
        return len(self._marks)

    def take(self, data: bytes) -> Taken:
        """``look`` and ``keep`` at once, where applying the message cannot fail, or state is restored when it does.

        Raises:
            MessageError: As ``read``.
        """
        taken = self.look(data)
        self.keep(taken)
        return taken

    def look(self, data: bytes) -> Taken:
        """Tell what a record is, and remember nothing yet.

        Args:
            data: The record's data, out of base64; plain or gzip.

        Raises:
            MessageError: As ``read``.
        """
        message, metadata = read(data)
        mark = self._marks.get(_key(metadata))
        seq = metadata.seq
        if mark is None:
            return Taken(message, metadata, False, False, 0, True)
        if seq > mark.seq:
            return Taken(message, metadata, False, False, seq - mark.seq - 1, False)
        late = any(first <= seq <= last for first, last in mark.missing)
        # Another message at the same place: state was restored at the writer, and was not this message.
        other = seq == mark.seq and mark.export != _digest(metadata.export_id)
        return Taken(message, metadata, not late and not other, late, 0, False)

    def keep(self, taken: Taken) -> None:
        """Remember a message, once its effects are as safe as what is remembered. Keeping one again is harmless."""
        metadata = taken.metadata
        key, seq = _key(metadata), metadata.seq
        mark = self._marks.pop(key, None)
        if mark is None:
            while len(self._marks) >= self.most:
                del self._marks[next(iter(self._marks))]
            mark = Mark(0, b"")
        if seq > mark.seq:
            missing = mark.missing if seq == mark.seq + 1 else _bounded((*mark.missing, (mark.seq + 1, seq - 1)))
            mark = Mark(seq, _digest(metadata.export_id), missing)
        elif seq == mark.seq:
            mark = Mark(seq, _digest(metadata.export_id), mark.missing)
        elif mark.missing:
            mark = Mark(mark.seq, mark.export, _bounded(_without(mark.missing, seq)))
        self._marks[key] = mark

    def snapshot(self) -> bytes:
        """All that is remembered, for ``restore``, about 35 bytes a profile: keep it with the stream's position."""
        return msgspec.msgpack.encode((_FORMAT, self.most, list(self._marks.items())))

    @classmethod
    def restore(cls, snapshot: bytes, most: int | None = None) -> Self:
        """Go on from a snapshot.

        Args:
            snapshot: From ``snapshot``.
            most: Another bound; that of the snapshot where it is None.

        Raises:
            SnapshotError: These bytes are no snapshot, or one of a newer version of this module.
        """
        try:
            raw = msgspec.msgpack.decode(snapshot)
            if isinstance(raw, list) and raw and raw[0] != _FORMAT:
                raise SnapshotError(f"the snapshot has format {raw[0]!r}, this module reads {_FORMAT}: update it")
            _, bound, marks = msgspec.convert(raw, tuple[int, int, list[tuple[bytes, Mark]]])
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"these bytes are no snapshot: {error}") from None
        restored = cls(bound if most is None else most)
        restored._marks = dict(marks[-restored.most :])
        return restored


def _key(metadata: Metadata) -> bytes:
    text = f"{metadata.flow_id}\0{metadata.profile_id}\0{metadata.epoch}"
    return blake2b(text.encode(), digest_size=16).digest()


def _digest(export_id: str) -> bytes:
    return blake2b(export_id.encode(), digest_size=8).digest()


def _without(missing: tuple[tuple[int, int], ...], seq: int) -> tuple[tuple[int, int], ...]:
    """The ranges less one number."""
    left: list[tuple[int, int]] = []
    for first, last in missing:
        if first <= seq <= last:
            left += [part for part in ((first, seq - 1), (seq + 1, last)) if part[0] <= part[1]]
        else:
            left.append((first, last))
    return tuple(left)


def _bounded(missing: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The ranges, at most ``HOLES``: joining two makes what lies between them pass for missing, never for kept."""
    while len(missing) > HOLES:
        (first, _), (_, last), *rest = missing
        missing = ((first, last), *rest)
    return missing
