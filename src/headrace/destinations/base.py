"""What a destination is: its description as data, its check, and a writer that answers for every record.

Contract of a Writer (tests/destinations/contract.py runs it on each):
    W1  ``write`` answers exactly one outcome per record, in order. It raises only ``BugError`` and cancellation.
    W2  DELIVERED means the destination has acknowledged that very record.
    W3  RETRY means that the record was certainly not written; UNKNOWN that it may have been.
    W4  ``write`` never sends a record twice: trying again is the caller's decision.
    W5  ``write`` may be called while earlier calls are under way, up to ``limits.in_flight`` of them.
    W6  After ``close`` returned, nothing is open any more; close may be called twice.

A writer may have ``prepare``, see ``Prepares``; a destination ``places``, see ``Lists``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from headrace.errors import Mistake


class Verdict(enum.IntEnum):
    """What an outcome means for its record."""

    DELIVERED = 0
    RETRY = 1
    """Certainly not written; worth trying again."""
    UNKNOWN = 2
    """May have been written; must be tried again, and counts as a possible duplicate."""
    REJECTED = 3
    """Will never be accepted: a dead letter."""
    HALT = 4
    """Nothing of this flow will be accepted until somebody acts: keep the records, pause, alert."""
    SPLIT = 5
    """The request was refused for something in it: try its halves, down to the one record at fault."""


class Outcome(msgspec.Struct, gc=False):
    """The destination's answer about one record.

    Attributes:
        shard: Where it was written (or, for a refusal, which shard refused), empty when unknown.
        sequence: Its sequence number there.
        code: Error code, empty when delivered.
        detail: The destination's words, without secrets or values.
        verdict: What to do next.
        wait_s: Least wait that the destination asked for, 0 when it did not.
        over_rate: Refused because it came too fast, so that going slower helps.
    """

    shard: str = ""
    sequence: str = ""
    code: str = ""
    detail: str = ""
    verdict: int = Verdict.DELIVERED
    wait_s: float = 0.0
    over_rate: bool = False


class Record(Protocol):
    """What a writer needs of an export: ``core.model.Export`` has it."""

    @property
    def key(self) -> str:
        """Partition key."""
        ...

    @property
    def data(self) -> bytes:
        """The message."""
        ...


class Limits(msgspec.Struct, frozen=True):
    """The most that one request may hold.

    Attributes:
        records: Records a request.
        request_bytes: Sum over its records of data and UTF-8 partition key.
        record_bytes: The same for one record.
        key_chars: Characters of a partition key.
        in_flight: Requests under way at once.
    """

    records: int = 500
    request_bytes: int = 5 * 1024 * 1024
    record_bytes: int = 1024 * 1024
    key_chars: int = 256
    in_flight: int = 32


class Writer(Protocol):
    """Writes records to one destination; see the contract above."""

    limits: Limits

    async def write(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Send one request; one outcome per record, in order."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Prepares(Protocol):
    """What a writer has besides when its records are not the messages as they are, but compressed, say."""

    def prepare(self, data: bytes) -> bytes:
        """Turn a message into its record's data. Called once per record, before sizes are taken; never waits."""
        ...


class Permission(msgspec.Struct, frozen=True):
    """One verdict of a check.

    Attributes:
        action: For example ``kinesis:PutRecords``.
        verdict: allowed, denied or unknown.
        detail: What the destination answered, and what to do next.
        request_id: Of the call that showed it, for support.
        statement: The policy statement to add when denied; None otherwise.
    """

    action: str
    verdict: str
    detail: str = ""
    request_id: str = ""
    statement: Mapping[str, Any] | None = None


class Check(msgspec.Struct, frozen=True):
    """Result of checking a connection. Nothing is written by a check.

    Attributes:
        permissions: One verdict per permission the destination needs.
        problems: What stops the flow, each saying what to do next; empty when it can run.
        warnings: What does not stop it.
        facts: What was learned (stream ARN, status, mode), for people.
    """

    permissions: Sequence[Permission]
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()
    facts: Mapping[str, str] = {}

    @property
    def ok(self) -> bool:
        """True when the flow can run."""
        return not self.problems


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a connection, as data: API, console, command line and docs are drawn from it.

    Attributes:
        name: On the wire.
        title: On screen.
        help: One sentence.
        type: string, boolean or integer.
        required: Must be given.
        secret: Sealed, never shown.
        default: Used when absent.
        choices: The allowed values, empty for any.
        pattern: Regular expression that a string must match whole, empty for any.
        form: What the pattern asks for, in words: said in mistakes, which never show a regular expression.
        least: Smallest integer.
        most: Largest integer.
    """

    name: str
    title: str
    help: str
    type: str = "string"
    required: bool = False
    secret: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""
    least: int | None = None
    most: int | None = None


class AuthSpec(msgspec.Struct, frozen=True):
    """One way to authenticate: its name on the wire and its parameters."""

    name: str
    type: str
    parameters: tuple[Parameter, ...]


class Limit(msgspec.Struct, frozen=True):
    """A limit of the service, with where it was read and when."""

    name: str
    value: int
    unit: str
    source: str


class Spec(msgspec.Struct, frozen=True):
    """What a destination is, described once.

    Attributes:
        id: Connection spec id.
        version: Connection spec version.
        name: For example ``Amazon Kinesis``.
        category: Catalog category.
        description: One sentence.
        auth: Ways to authenticate.
        target: Parameters of a target connection.
        permissions: Actions needed.
        limits: Limits of the service.
    """

    id: str
    version: str
    name: str
    category: str
    description: str
    auth: tuple[AuthSpec, ...]
    target: tuple[Parameter, ...]
    permissions: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()


TARGET_TOGGLES: Final = (
    Parameter(
        "includeSegmentNames", "Include audience names", "Add each mapped audience's name.", "boolean", default=False
    ),
    Parameter(
        "includeSegmentTimestamps",
        "Include audience timestamps",
        "Add when each mapped audience and its mapping were made and changed (epoch milliseconds).",
        "boolean",
        default=False,
    ),
)
"""The two parameters that every profile-based destination has."""


class Destination(Protocol):
    """A kind of destination: one folder, one registry line, one contract-test class, one docs page."""

    spec: Spec

    def mistakes(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Sequence[Mistake]:
        """What is wrong between parameters that each obey the spec; places begin at ``auth.`` or ``target.``."""
        ...

    def place(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> str:
        """What flows share that write to the same place (a stream's shards): the same text for the same place."""
        ...

    def writer(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Writer:
        """Build a writer from parameters that were checked against the spec. Connects on first use."""
        ...

    async def check(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Check:
        """Try the connection and each permission without writing anything. Never raises for what it finds."""
        ...


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The places of an account, for a choice among them.

    Attributes:
        names: As a target connection names them, sorted.
        complete: False when there are more.
        problem: Why none could be listed, and what to do; empty when all is well.
        permissions: What this showed of the permissions that the destination needs; those that only a place can
            show are unknown.
    """

    names: tuple[str, ...] = ()
    complete: bool = True
    problem: str = ""
    permissions: tuple[Permission, ...] = ()

    @property
    def usable(self) -> bool:
        """False when the account itself is the trouble; who may not list can still name a place."""
        return not self.problem or any(each.verdict == "denied" for each in self.permissions)


@runtime_checkable
class Lists(Protocol):
    """A destination that can list what a target connection may name."""

    async def places(self, auth: Mapping[str, Any]) -> Places:
        """List them. Never raises for what it finds."""
        ...
