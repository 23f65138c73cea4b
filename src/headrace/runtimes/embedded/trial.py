"""Write one test record to where a flow writes, and tell what the destination answered.

It goes past outbox, lanes and ledger: it is nobody's export, is never sent again, and is in no total. On the stream
it is told by its block ``_headrace``, whose ``cause.kind`` is ``test``; the block is whole whether the flow adds such
blocks or not.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from headrace.clock import Clock, System
from headrace.core import message
from headrace.core.cause import active
from headrace.core.flow import CompiledFlow
from headrace.core.model import Cause, Membership
from headrace.core.paths import parse
from headrace.core.times import from_ms
from headrace.destinations.base import Outcome, Verdict, Writer
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine

BLOCK: Final = "_headrace"
KIND: Final = "test"
PROFILE_ID: Final = hashlib.blake2b(b"headrace test record", digest_size=16).hexdigest()
IDENTITY: Final = "headrace-test"
"""Id of the made-up person, and partition key of the record."""
TIMEOUT_S: Final = 20.0
"""Less than who asks waits for an answer."""

_CAUSE: Final = Cause(KIND)
_THEN: Final = {
    Verdict.RETRY: "Nothing was written; try again",
    Verdict.UNKNOWN: "It may have been written all the same; look into the stream before trying again",
    Verdict.REJECTED: "Such a record would become a dead letter",
    Verdict.HALT: "Nothing was written, and the flow's exports wait until this is mended",
    Verdict.SPLIT: "Such a record would become a dead letter",
}


class Trial(NamedTuple):
    """A record as writers take them."""

    key: str
    data: bytes


class Answered(msgspec.Struct, kw_only=True):
    """A test record that was written.

    Attributes:
        flow: Flow id.
        outcome: delivered.
        shard: Where it was written.
        sequence: Its sequence number there.
        size_bytes: Of data and partition key.
        took_ms: How long the answer took.
        message: What was written, with its mark.
        marker: By what it is told on the stream.
    """

    flow: str
    outcome: str
    shard: str
    sequence: str
    size_bytes: int
    took_ms: int
    message: dict[str, Any]
    marker: str = f"{BLOCK}.cause.kind: {KIND}"


async def send_test(
    engine: Engine, flow_id: str, given: Mapping[str, Any] | None = None, clock: Clock | None = None
) -> Answered:
    """Write a test record.

    Args:
        engine: Whose flow.
        flow_id: Which.
        given: The message, without the mark; None for one about a made-up person with every mapped attribute, in
            every mapped audience.
        clock: Time; the system's when None.

    Raises:
        RefusedError: There is no such flow, the record is too large, or the destination did not take it; with what
            it answered and what to do.
    """
    clock = clock or System()
    flow = engine.in_force.known(flow_id)
    now_ms = clock.now_ms()
    plain = dict(given) if given is not None else msgspec.json.decode(made_up(flow, now_ms))
    plain[BLOCK] = _block(flow, engine.snapshot.version, now_ms)
    data = msgspec.json.encode(plain)
    writer = engine.in_force.open_writer(flow_id)
    try:
        record = Trial(IDENTITY, _prepared(writer, data))
        _check(writer, record)
        began_s = clock.monotonic_s()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                outcome = (await writer.write([record]))[0]
        except TimeoutError:
            late = f"there was no answer within {TIMEOUT_S:g} s; look at the network between here and the destination"
            outcome = Outcome(code="no-answer", detail=late, verdict=Verdict.UNKNOWN)
        took_ms = round((clock.monotonic_s() - began_s) * 1000)
    finally:
        await writer.close()
    if outcome.verdict != Verdict.DELIVERED:
        raise RefusedError(
            f"the test record was not confirmed: {outcome.code}: {outcome.detail}. "
            f"{_THEN[Verdict(outcome.verdict)]}. The permissions are tried by: headrace check"
        )
    return Answered(
        flow=flow_id, outcome="delivered", shard=outcome.shard, sequence=outcome.sequence,
        size_bytes=len(record.data) + len(record.key), took_ms=took_ms, message=plain,
    )  # fmt: skip


def made_up(flow: CompiledFlow, now_ms: int) -> bytes:
    """The flow's message about a person who is not: every mapped attribute has a text that says so."""
    attributes: dict[str, Any] = {}
    for path in flow.paths:
        steps = parse(path)
        assert isinstance(steps, tuple)
        inner = attributes
        for step in steps[:-1]:
            inner = inner.setdefault(step, {})
        inner[steps[-1]] = KIND
    mapped = active(flow, now_ms)
    memberships = {
        namespace: {segment_id: Membership(True, from_ms(now_ms)) for segment_id in segments}
        for namespace, segments in mapped.items()
        if segments
    }
    entered = [(namespace, segment_id) for namespace, ids in memberships.items() for segment_id in ids]
    return message.assemble(
        message.Layout(flow), attributes, message.membership_part(flow, mapped, memberships, entered),
        message.identity_part({"ecid": [IDENTITY]}), None,
    )  # fmt: skip


def _block(flow: CompiledFlow, version: str, now_ms: int) -> Any:
    """The mark: a whole block whether the flow adds such blocks or not, so that any consumer can read and skip it."""
    digest = hashlib.blake2b(f"{flow.id}\0{now_ms}".encode(), digest_size=16).hexdigest()
    # Each is the first and only one of its epoch: neither a repeat nor behind a gap.
    part = message.metadata_part(
        flow_id=flow.id, profile_id=PROFILE_ID, export_id=digest, seq=1, version=1, epoch=now_ms, config=version,
        cause=_CAUSE,
    )  # fmt: skip
    return msgspec.Raw(part)


def _prepared(writer: Writer, data: bytes) -> bytes:
    prepare = getattr(writer, "prepare", None)
    return data if prepare is None else prepare(data)


def _check(writer: Writer, record: Trial) -> None:
    size_bytes = len(record.data) + len(record.key)
    most = min(writer.limits.record_bytes, writer.limits.request_bytes)
    if size_bytes > most:
        raise RefusedError(f"the test record has {size_bytes} bytes; the destination takes {most}: map less")
