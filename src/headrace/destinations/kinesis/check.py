"""Try a connection and each permission without writing anything.

AWS itself is asked with DryRun, which checks everything and writes nothing. Another endpoint may not know
DryRun and would write the record; there a hash key one past the last is sent, which every server refuses
with InvalidArgumentException after it has let the caller in.

Holds always (tests/destinations/kinesis/test_check.py):
    C1  Nothing is written.
    C2  Three verdicts, whatever happened; a denied one carries the policy statement to add.
    C3  A denied ListStreams alone stops nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.aws import regions
from headrace.clock import System
from headrace.destinations.base import Check, Permission, Places
from headrace.destinations.kinesis.answers import refusal
from headrace.destinations.kinesis.encoder import probe
from headrace.destinations.kinesis.faults import Fault, fault_of, told
from headrace.destinations.kinesis.listing import Listing, find_stream, list_streams
from headrace.destinations.kinesis.spec import SPEC
from headrace.kinesis.transport import Answer, Transport, Unanswered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.aws import Endpoint
    from headrace.clock import Clock
    from headrace.kinesis.connection import Connection

LIST, PUT, PUTS = SPEC.permissions
CALL_S: Final = 10.0
_ACCOUNT: Final = re.compile(r"arn:aws[a-z-]*:(?:iam|sts|kinesis):[a-z0-9-]*:([0-9]{12}):")


async def check(
    stream: str, connection: Connection, *, problems: Sequence[str] = (), clock: Clock | None = None
) -> Check:
    """Check one connection. Never raises for what it finds.

    Args:
        stream: Stream name.
        connection: Where to, and with which keys.
        problems: Problems known before; they head the result's.
        clock: Time of the signatures.
    """
    transport = Transport(connection, clock or System(), connections=1, timeout_s=CALL_S)
    try:
        return await Checking(transport, connection.endpoint, stream, connection.region, list(problems)).run()
    finally:
        await transport.close()


async def places(connection: Connection, *, clock: Clock | None = None) -> Places:
    """List an account's streams. Never raises for what it finds.

    Args:
        connection: Where to, and with which keys.
        clock: Time of the signatures.
    """
    transport = Transport(connection, clock or System(), connections=1, timeout_s=CALL_S)
    try:
        return await Checking(transport, connection.endpoint, "", connection.region, []).places()
    finally:
        await transport.close()


class Checking:
    """One check as it goes on: what was learned so far.

    Args:
        transport: Carries the calls.
        endpoint: Where to; decides how puts are probed.
        stream: Stream name.
        region: Region name.
        problems: Problems known before.
    """

    def __init__(
        self, transport: Transport, endpoint: Endpoint, stream: str, region: str, problems: list[str]
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._stream = stream
        self._region = region
        self._problems = problems
        self._warnings: list[str] = []
        self._facts: dict[str, str] = {"endpoint": endpoint.url, "region": region}
        self._account = "*"
        self._hopeless = False
        """No connection is had, or the keys are refused: another call can tell nothing."""
        self._written = False

    async def run(self) -> Check:
        """Make the calls, one after the other, and judge."""
        listed, listing = await self._list()
        puts = [await self._put(PUT), await self._put(PUTS)]
        self._judge_stream(listing)
        if self._account != "*":
            self._facts["account"] = self._account
        permissions = [self._with_statement(each) for each in (listed, *puts)]
        self._judge_permissions(permissions)
        return Check(
            permissions, list(dict.fromkeys(self._problems)), list(dict.fromkeys(self._warnings)), self._facts
        )

    async def places(self) -> Places:
        """List the streams, or say why not."""
        found = await list_streams(self._call)
        untried = tuple(Permission(each, "unknown", "tried once a target names a stream") for each in (PUT, PUTS))
        if isinstance(found, tuple):
            names, complete = found
            allowed = Permission(LIST, "allowed")
            return Places(names=tuple(sorted(names)), complete=complete, permissions=(allowed, *untried))
        verdict = self._judged(LIST, found)
        if verdict.verdict == "denied":
            return Places(
                complete=False,
                permissions=(verdict, *untried),
                problem=f"{LIST} is denied; type the stream's name, or allow it with "
                'Resource "*" in the policy of these keys: a policy scoped to a stream does not grant it',
            )
        problem = "; ".join([*self._problems, *self._warnings]) or verdict.detail
        return Places(complete=False, permissions=(verdict, *untried), problem=problem)

    async def _call(self, action: str, body: bytes) -> Answer | Unanswered:
        """One call; once more when only this machine's clock was wrong."""
        answer = await self._transport.post(action, body)
        if isinstance(answer, Unanswered) or answer.status == 200:
            return answer
        code, message = refusal(answer.body, answer.error_type)
        found = _ACCOUNT.search(message)
        if found and self._account == "*":
            self._account = found.group(1)
        if fault_of(code, answer.status) in (Fault.CLOCK, Fault.KEYS) and self._transport.correct_clock(answer):
            self._warnings.append(
                f"this machine's clock is {-answer.skew_s:+.0f} s off the service's; records are signed with the "
                "service's time, but set this machine's clock (NTP)"
            )
            return await self._transport.post(action, body)
        return answer

    async def _list(self) -> tuple[Permission, Listing | None]:
        result = await find_stream(self._call, self._stream, try_predecessor=not self._endpoint.custom)
        if isinstance(result, Listing):
            return Permission(LIST, "allowed", "", result.request_id), result
        return self._judged(LIST, result), None

    async def _put(self, action: str) -> Permission:
        """Ask for one of the two puts, without writing."""
        dry_run = not self._endpoint.custom
        if self._hopeless:
            return Permission(action, "unknown", "not tried")
        if self._written:
            return Permission(action, "unknown", "not tried: the endpoint wrote the record of the probe before")
        answer = await self._call(action.partition(":")[2], probe(self._stream, many=action == PUTS, dry_run=dry_run))
        if isinstance(answer, Unanswered) or answer.status != 200:
            return self._judged(action, answer, dry_run=dry_run)
        if b'"ErrorCode":"InvalidArgumentException"' in answer.body.replace(b" ", b""):
            return Permission(action, "allowed", "", answer.request_id)
        self._written = True
        self._warnings.append(
            f"the endpoint accepted what it should have refused: an empty record with the key 'headrace-check' "
            f"may have been written to {self._stream!r}"
        )
        return Permission(action, "allowed", "the endpoint accepted the probe", answer.request_id)

    def _judged(self, action: str, answer: Answer | Unanswered, *, dry_run: bool = False) -> Permission:
        """The verdict that a refusal means, its problem noted."""
        if isinstance(answer, Unanswered):
            self._hopeless = True
            self._problems.append(self._unreachable(answer))
            return Permission(action, "unknown", answer.detail)
        code, message = refusal(answer.body, answer.error_type)
        request_id = answer.request_id
        fault = fault_of(code, answer.status)
        expected = "DryRunOperationException" if dry_run else "InvalidArgumentException"
        if action != LIST and code == expected:
            return Permission(action, "allowed", "", request_id)
        name = code or f"HTTP {answer.status}"
        detail = f"{name}: {told(fault, message)}"
        if fault is Fault.DENIED:
            return Permission(action, "denied", detail, request_id)
        self._hopeless = fault in (Fault.KEYS, Fault.EXPIRED, Fault.ENDPOINT)
        if fault is Fault.STREAM:
            self._problems.append(self._no_stream())
        elif fault is Fault.KEYS and _REGION_WORDS.search(message):
            self._problems.append(
                f"{self._endpoint.host} belongs to another region than {self._region!r}; give the endpoint's region"
            )
        elif fault is Fault.EXPIRED:
            self._problems.append(f"{name}: the session token has expired; give new keys and their token")
        elif fault in (Fault.KEYS, Fault.KMS, Fault.ENDPOINT):
            self._problems.append(detail)
        else:
            self._warnings.append(f"{action} could not be tried: {name}; run the check again")
        return Permission(action, "unknown", detail, request_id)

    def _unreachable(self, answer: Unanswered) -> str:
        if answer.code == "no-address" and self._region not in regions("kinesis") and not self._endpoint.custom:
            return f"{answer.detail}; {self._region!r} is not a region that is known to have Kinesis"
        return answer.detail

    def _no_stream(self, others: Sequence[str] = ()) -> str:
        there = f"; there: {', '.join(others)}" if others else ""
        return (
            f"there is no stream {self._stream!r} in {self._region} for these keys{there}; "
            f"check the stream's name, the region and the account, or create the stream"
        )

    def _judge_stream(self, listing: Listing | None) -> None:
        if listing is None:
            return
        if listing.found is None:
            if listing.complete:
                self._problems = [p for p in self._problems if p != self._no_stream()]
                self._problems.append(self._no_stream(listing.others))
            return
        summary = listing.found
        for name, value in (("streamArn", summary.arn), ("status", summary.status), ("mode", summary.mode.mode)):
            if value:
                self._facts[name] = value
        owner = _ACCOUNT.search(summary.arn)
        if owner:
            self._account = owner.group(1)
        if summary.status in ("CREATING", "DELETING"):
            self._problems.append(
                f"the stream {self._stream!r} is {summary.status} and takes no records; wait until it is ACTIVE"
                + (", or choose another" if summary.status == "DELETING" else "")
            )
        elif summary.status not in ("ACTIVE", ""):
            self._warnings.append(f"the stream {self._stream!r} is {summary.status}; it takes records meanwhile")

    def _judge_permissions(self, permissions: Sequence[Permission]) -> None:
        for each in permissions:
            if each.verdict != "denied":
                continue
            add = f"{each.action} is denied; add the statement shown with it to the policy of these keys"
            if each.action == PUTS:
                self._problems.append(add)
            elif each.action == LIST:
                self._warnings.append(
                    f'{add}: it needs Resource "*", a policy scoped to a stream does not grant it. Records are '
                    "written without it; only the stream's state and the choice of streams are missing"
                )
            else:
                self._warnings.append(
                    f"{add}. Records are written with kinesis:PutRecords, so the flow runs without it"
                )

    def _with_statement(self, permission: Permission) -> Permission:
        if permission.verdict != "denied":
            return permission
        return msgspec.structs.replace(permission, statement=self._statement(permission.action))

    def _statement(self, action: str) -> Mapping[str, Any]:
        """ListStreams takes no resource in IAM, so a statement scoped to a stream never grants it."""
        arn = self._facts.get("streamArn") or (
            f"arn:{self._endpoint.partition}:kinesis:{self._region}:{self._account}:stream/{self._stream}"
        )
        return {"Effect": "Allow", "Action": action, "Resource": "*" if action == LIST else arn}


_REGION_WORDS: Final = re.compile(r"[Cc]redential should be scoped to a valid region")
