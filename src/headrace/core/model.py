"""The core's values: what goes in, what is kept, what comes out. Nothing is changed in place.

Exports and the parts of envelopes are what lies on disk, so their field order is the format (``FORMAT``): a new
field is appended with a default, and none is ever moved or removed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

FORMAT: Final = 1
"""Version of the envelope's and the export's encoding."""

MAX_IDENTITY_CHARS: Final = 1024
MAX_DEPTH: Final = 64
MAX_UPDATE_BYTES: Final = 1_048_576
BUCKETS: Final = 64
"""Buckets of a flow's outbox; a bucket is the top six bits of the partition key's MD5."""


NOTHING: Final[list[Any]] = []
"""Stands for a list without elements where thousands a second would be made; nobody ever adds to it."""


class Identity(NamedTuple):
    """One identity of a person: a namespace code in lower case and an id within it."""

    namespace: str
    id: str


class Membership(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A profile's membership of one audience.

    Attributes:
        member: In the audience (``realized``) or out of it (``exited``).
        since: lastQualificationTime, canonical: ``2026-01-11T21:24:39.000Z``, so that text order is time order.
        valid_until: The end stated by the update, canonical, or None.
        ordinal: Ordinal of the input that gave it this state; of equal times the later one wins a merge.
        received_ms: Time of that input's batch, epoch milliseconds: what runs out some time after it was received
            is counted from there.
    """

    member: bool
    since: str
    valid_until: str | None = None
    ordinal: int = 0
    received_ms: int = 0


class FlowMark(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a flow last exported about a profile.

    Attributes:
        seq: Exports of this flow about this profile so far.
        ordinal: Ordinal of the last one in the outbox; 0 when there is none.
        bucket: Bucket it lies in.
        after: (bucket, ordinal) of exports about absorbed profiles that the next export must wait for.
        absorbed: Ids of the profiles absorbed since the last export.
    """

    seq: int
    ordinal: int
    bucket: int
    after: list[tuple[int, int]] = []
    absorbed: list[str] = []


DAYS: Final = 30
"""Days of the rules of spec 1.5."""


class Lifetimes(msgspec.Struct, frozen=True):
    """The rules; each can be switched off.

    Attributes:
        valid_until: A member leaves when its validUntil passes.
        external_days: Members of external audiences without validUntil leave after so many days; 0 for never.
        exited_days: Exited memberships are removed after so many days; 0 for never.
    """

    valid_until: bool = True
    external_days: int = DAYS
    exited_days: int = DAYS


FOREVER: Final = Lifetimes(valid_until=False, external_days=0, exited_days=0)
"""No rule at all: what journals were written by that do not name any."""


class MembershipChange(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One membership as an update states it; ``since`` None means "now, if this is news"."""

    namespace: str
    segment_id: str
    member: bool
    since: str | None
    valid_until: str | None = None


class Tick(msgspec.Struct, frozen=True):
    """Time passes for one profile: what has run out by *now* leaves."""

    profile_id: str


class Backfill(msgspec.Struct, frozen=True):
    """Export one profile's current state to one flow, whatever changed; kind tells why.

    Attributes:
        profile_id: Which.
        flow_id: To which flow.
        run_id: For which run.
        kind: backfill, re-send, or catch-up.
        unless_since: Not when the flow told of it at this ordinal or later; 0 to tell in any case.
    """

    profile_id: str
    flow_id: str
    run_id: str
    kind: str = "backfill"
    unless_since: int = 0


class Delete(msgspec.Struct, frozen=True):
    """Forget one profile."""

    profile_id: str


class Replay(msgspec.Struct, frozen=True, omit_defaults=True):
    """Export one profile's current state to one flow in place of a dead letter; or the message that it was.

    Attributes:
        profile_id: About whom.
        flow_id: To which flow.
        letter_id: In place of which dead letter.
        original: The message as it was, to be exported instead of the current state; empty for that.
        key: With it, its partition key.
    """

    profile_id: str
    flow_id: str
    letter_id: str
    original: bytes = b""
    key: str = ""


class Unlink(msgspec.Struct, frozen=True):
    """Take an identity off one profile that it was joined to by mistake; the last one stays."""

    profile_id: str
    namespace: str
    id: str


class Cause(msgspec.Struct, array_like=True, gc=False):
    """Why an export was made.

    Attributes:
        kind: live, backfill, re-send, catch-up, replay, original (a replay of the message as it was) or delete.
        triggers: Of segment, identity, attribute: those that fired; or consent alone, where it was withdrawn.
        paths: Mapped attribute paths that the update wrote.
        joined: Mapped audiences entered, as ``namespace/id``.
        left: Mapped audiences left, as ``namespace/id``.
        absorbed: Ids of profiles that this one absorbed.
    """

    kind: str
    triggers: list[str] = []
    paths: list[str] = []
    joined: list[str] = []
    left: list[str] = []
    absorbed: list[str] = []


class Export(msgspec.Struct, array_like=True, gc=False):
    """One message about one profile for one flow, as it waits in the outbox.

    Attributes:
        ordinal: Ordinal of the input that made it; with the flow and bucket its place in the outbox.
        profile_id: The lane: exports of one profile leave in the order of their ordinals.
        export_id: 32 hexadecimal digits, the same whenever the same export is made again.
        seq: Grows by one per export of the flow about this profile.
        version: The profile's version after the input.
        epoch: The profile's epoch.
        key: Partition key.
        data: The message, UTF-8 JSON without newline.
        cause: Why it was made.
        made_ms: Time of the batch that made it, epoch milliseconds.
        config: Version of the configuration that made it.
        after: (bucket, ordinal) of exports of the same flow that must be settled first: those of
            absorbed profiles, and this profile's last one where the partition key has changed.
    """

    ordinal: int
    profile_id: str
    export_id: str
    seq: int
    version: int
    epoch: int
    key: str
    data: bytes
    cause: Cause
    made_ms: int
    config: str
    after: list[tuple[int, int]] = []
