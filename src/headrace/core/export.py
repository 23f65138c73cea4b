"""One export: its bucket, partition key, id and message, and what the profile remembers of it."""

from __future__ import annotations

try:  # CPython's own, where it is built in: it takes half the time of the one that asks OpenSSL
    from _md5 import md5  # type: ignore[import-not-found]
except ImportError:
    from hashlib import md5
from headrace.core import message
from headrace.core.cause import WITHDRAWN
from headrace.core.envelope import Envelope
from headrace.core.flow import CompiledFlow
from headrace.core.link import digest
from headrace.core.model import NOTHING, Cause, Export, FlowMark, Membership
from headrace.core.paths import read
from headrace.core.prepared import PreparedFlow
from headrace.core.view import View


def bucket_of(key: str) -> int:
    """The outbox bucket of a partition key: the top six bits of its MD5, as Kinesis hashes keys to shards."""
    digest: bytes = md5(key.encode(), usedforsecurity=False).digest()
    return digest[0] >> 2


def _partition_key(flow: CompiledFlow, profile: Envelope) -> str:
    """The flow's rule; the profile id where the rule finds nothing, cut to the service's 256 characters."""
    rule = flow.partition_key
    if rule.kind == "identity":
        ids = profile.identities.get(rule.namespace)
        return ids[0][:256] if ids else profile.profile_id
    if rule.kind == "attribute":
        value = read(rule.steps, profile.attributes)
        if type(value) is str and value:
            return value[:256]
        if type(value) in (int, float, bool):
            return message.text(value)[:256]
    return profile.profile_id


def _memberships(view: View, of: PreparedFlow, mapped: message.Mapped, cause: Cause) -> bytes:
    memberships, flow = view.after.memberships, of.flow
    if WITHDRAWN in cause.triggers or cause.kind == "delete":
        memberships = {
            n: {s: Membership(False, m.since, None, 0) for s, m in ids.items() if s in mapped.get(n, {})}
            for n, ids in memberships.items()
            if n in mapped
        }
    elif not of.deliver_all and cause.kind == "live":
        named = {*cause.joined, *cause.left}
        memberships = {
            n: kept
            for n, ids in memberships.items()
            if (kept := {s: m for s, m in ids.items() if f"{n}/{s}" in named})
        }
    elif of.plain:
        return view.plain_membership_part()
    entered = {(m.namespace, m.segment_id) for m in view.moved if m.after and not m.before}
    if flow.consent is not None and cause.joined:
        entered |= {(n, s) for n, ids in mapped.items() for s in ids if f"{n}/{s}" in cause.joined}
    return message.membership_part(flow, mapped, memberships, entered)


def export_of(
    view: View, flow: PreparedFlow, mapped: message.Mapped, cause: Cause, run: str,
    kept: tuple[str, bytes] | None = None,
) -> tuple[Export, FlowMark]:  # fmt: skip
    """Render one export, or take a kept one (partition key, message), and what the profile remembers of it."""
    after = view.after
    if kept is not None:
        key = kept[0]
        bucket = bucket_of(key)
    elif flow.by_profile:
        key = after.profile_id
        if view.bucket < 0:
            view.bucket = bucket_of(key)
        bucket = view.bucket
    else:
        key = _partition_key(flow.flow, after)
        bucket = bucket_of(key)
    mark = after.marks.get(flow.id)
    waits: list[tuple[int, int]] = NOTHING
    seq = 1
    if mark is not None:
        seq = mark.seq + 1
        waits = mark.after
        cause.absorbed = mark.absorbed
        if mark.ordinal and mark.bucket != bucket:
            waits = [*waits, (mark.bucket, mark.ordinal)]
    version = after.version + 1
    export_id = digest(f"{flow.id}\0{after.profile_id}\0{after.epoch}\0{version}\0{flow.digest}\0{run}")
    block = None
    if flow.metadata and kept is None:
        block = message.metadata_part(
            flow_id=flow.id, profile_id=after.profile_id, export_id=export_id, seq=seq, version=version,
            epoch=after.epoch, config=view.config, cause=cause,
        )  # fmt: skip
    if kept is not None:
        content = kept[1]
    else:
        content = message.assemble(
            flow.layout, after.attributes, _memberships(view, flow, mapped, cause), view.identity_part(), block
        )
    export = Export(
        view.ordinal, after.profile_id, export_id, seq, version, after.epoch, key, content, cause, view.now_ms,
        view.config, waits,
    )  # fmt: skip
    return export, FlowMark(seq, view.ordinal, bucket, NOTHING, NOTHING)
