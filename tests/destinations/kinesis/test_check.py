"""The check against scripted services: AWS's own behaviour, as documented, and every kind of trouble (C1 to C3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.aws import Credentials, StaticCredentials, endpoint_for
from headrace.clock import Manual
from headrace.destinations.base import Check
from headrace.destinations.kinesis import KINESIS
from headrace.destinations.kinesis.check import Checking, check
from headrace.destinations.kinesis.listing import predecessor
from headrace.kinesis.connection import Connection
from headrace.kinesis.transport import Transport
from tests.destinations.kinesis.raw_server import HANG_UP, NOW_MS, Got, RawServer, answer, refused
from tests.servers import free_port

KEYS = Credentials("AKIA", "the-secret", "the-token")
ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/"


class FakeAws:
    """ListStreams and DryRun as the API reference has them; a put without DryRun is written down.

    Args:
        streams: Names and statuses.
        denied: Actions that are denied.
    """

    def __init__(self, streams: dict[str, str], denied: tuple[str, ...] = ()) -> None:
        self.streams = streams
        self.denied = denied
        self.written = 0
        self.calls: list[str] = []

    def __call__(self, got: Got) -> bytes:
        self.calls.append(got.action)
        if got.action in self.denied:
            return refused(
                "AccessDeniedException",
                f"User: arn:aws:iam::123456789012:user/w is not authorized to perform: kinesis:{got.action}",
            )
        request = got.json
        if got.action == "ListStreams":
            after = request.get("ExclusiveStartStreamName", "")
            names = sorted(n for n in self.streams if n > after)
            page = names[: request["Limit"]]
            summaries = [{"StreamName": n, "StreamARN": ARN + n, "StreamStatus": self.streams[n]} for n in page]
            more = len(page) < len(names)
            return answer(200, {"StreamNames": page, "HasMoreStreams": more, "StreamSummaries": summaries})
        if request["StreamName"] not in self.streams:
            return refused("ResourceNotFoundException", f"Stream {request['StreamName']} not found.")
        if request.get("DryRun") is True:
            return refused("DryRunOperationException", "Request would have succeeded")
        self.written += 1
        return answer(200, {"ShardId": "shardId-000000000000", "SequenceNumber": "1"})


def check_as_aws(service: Callable[[Got], bytes], stream: str = "wanted", *, now_ms: int = NOW_MS) -> Check:
    """Check a service on this machine as if it were AWS's own endpoint."""

    async def run() -> Check:
        async with RawServer(service) as server:
            endpoint = endpoint_for("kinesis", "eu-west-1", server.url)._replace(custom=False)
            transport = Transport(Connection("eu-west-1", endpoint, StaticCredentials(KEYS)), Manual(now_ms))
            try:
                return await Checking(transport, endpoint, stream, "eu-west-1", []).run()
            finally:
                await transport.close()

    return safe(asyncio.run(run()))


def at(url: str) -> Connection:
    """A connection to a custom endpoint."""
    return Connection("eu-west-1", endpoint_for("kinesis", "eu-west-1", url), StaticCredentials(KEYS))


def check_custom(service: Callable[[Got], bytes], stream: str = "wanted", *, now_ms: int = NOW_MS) -> Check:
    """Check a service as the custom endpoint it is."""

    async def run() -> Check:
        async with RawServer(service) as server:
            return await check(stream, at(server.url), clock=Manual(now_ms))

    return safe(asyncio.run(run()))


def safe(found: Check) -> Check:
    """Every check has three verdicts (C2) and shows no secret."""
    assert [p.action for p in found.permissions] == ["kinesis:ListStreams", "kinesis:PutRecord", "kinesis:PutRecords"]
    assert all((p.statement is not None) == (p.verdict == "denied") for p in found.permissions)
    assert "the-secret" not in repr(found)
    assert "the-token" not in repr(found)
    return found


def verdicts(found: Check) -> list[str]:
    """The three, in order."""
    return [p.verdict for p in found.permissions]


def test_c1_on_aws_a_dry_run_allows_all_and_writes_nothing() -> None:
    """Three calls: one listing that begins just before the stream, two dry runs."""
    aws = FakeAws({**{f"a{n:04}": "ACTIVE" for n in range(300)}, "wanted": "ACTIVE", "zebra": "ACTIVE"})
    found = check_as_aws(aws)
    assert verdicts(found) == ["allowed"] * 3
    assert (found.ok, found.warnings, aws.written) == (True, [], 0)
    assert aws.calls == ["ListStreams", "PutRecord", "PutRecords"]
    assert found.facts["streamArn"] == ARN + "wanted"
    assert found.facts["account"] == "123456789012"


@pytest.mark.parametrize(
    ("denied", "expected"),
    [
        (("ListStreams",), ["denied", "allowed", "allowed"]),
        (("PutRecord",), ["allowed", "denied", "allowed"]),
        (("PutRecords",), ["allowed", "allowed", "denied"]),
        (("ListStreams", "PutRecord", "PutRecords"), ["denied"] * 3),
    ],
)
def test_c2_a_denied_permission_comes_with_its_statement(denied: tuple[str, ...], expected: list[str]) -> None:
    """ListStreams on everything, a put on the stream's ARN, the account learned from any answer."""
    found = check_as_aws(FakeAws({"wanted": "ACTIVE"}, denied))
    assert verdicts(found) == expected
    for permission in found.permissions:
        if permission.verdict == "denied":
            resource = "*" if permission.action == "kinesis:ListStreams" else ARN + "wanted"
            assert permission.statement == {"Effect": "Allow", "Action": permission.action, "Resource": resource}
            assert permission.request_id == "req-1"
    assert found.ok == ("PutRecords" not in denied)


def test_c3_without_liststreams_the_flow_runs() -> None:
    """A policy scoped to a stream, as Adobe's page shows it, does not grant ListStreams: a warning, and why."""
    found = check_as_aws(FakeAws({"wanted": "ACTIVE"}, ("ListStreams",)))
    assert found.ok
    (warning,) = found.warnings
    assert 'Resource "*"' in warning


def test_an_unknown_account_is_left_open_in_the_statement() -> None:
    """When no answer names it."""
    found = check_as_aws(lambda _: refused("AccessDeniedException", "no"))
    assert found.permissions[1].statement is not None
    assert found.permissions[1].statement["Resource"] == "arn:aws:kinesis:eu-west-1:*:stream/wanted"


def test_a_missing_stream_is_one_problem_with_names_to_choose_from() -> None:
    """Not three times the same."""
    found = check_as_aws(FakeAws({"other": "ACTIVE", "third": "ACTIVE"}))
    (problem,) = found.problems
    assert "no stream 'wanted' in eu-west-1" in problem
    assert "there: other, third" in problem


def test_a_missing_stream_is_found_out_without_liststreams_too() -> None:
    """The puts say so."""
    found = check_as_aws(FakeAws({}, ("ListStreams",)))
    (problem,) = found.problems
    assert "no stream 'wanted'" in problem


@pytest.mark.parametrize(
    ("status", "ok", "said"),
    [
        ("CREATING", False, "wait until it is ACTIVE"),
        ("DELETING", False, "choose another"),
        ("UPDATING", True, "UPDATING"),
    ],
)
def test_a_stream_that_is_not_active(status: str, ok: bool, said: str) -> None:
    """One that is made or deleted takes no records; one that is changed does."""
    found = check_as_aws(FakeAws({"wanted": status}))
    assert found.ok is ok
    assert said in " ".join([*found.problems, *found.warnings])


def test_a_service_that_pages_by_name_is_read_to_the_end() -> None:
    """Where an unknown start fails, paging begins without one; the stream is on the third page."""
    names = {**{f"a{n:04}": "ACTIVE" for n in range(250)}, "wanted": "ACTIVE"}
    aws = FakeAws(names)

    def service(got: Got) -> bytes:
        if got.action == "ListStreams":
            return aws(got)
        return refused("InvalidArgumentException")

    found = check_custom(service)
    assert verdicts(found) == ["allowed"] * 3
    assert aws.calls == ["ListStreams"] * 3


def test_a_service_that_pages_by_token_is_read_to_the_end() -> None:
    """A token goes alone with the limit."""
    asked: list[dict[str, Any]] = []

    def service(got: Got) -> bytes:
        if got.action != "ListStreams":
            return refused("InvalidArgumentException")
        asked.append(got.json)
        if "NextToken" in got.json:
            return answer(200, {"StreamNames": ["wanted"], "HasMoreStreams": False})
        return answer(200, {"StreamNames": ["a"], "HasMoreStreams": True, "NextToken": "t"})

    assert check_custom(service).ok
    assert asked == [{"Limit": 100}, {"Limit": 100, "NextToken": "t"}]


def test_c1_a_custom_endpoint_is_never_asked_with_dry_run() -> None:
    """It may not know it and write the record."""
    bodies: list[bytes] = []

    def service(got: Got) -> bytes:
        bodies.append(got.body)
        if got.action == "ListStreams":
            return answer(200, {"StreamNames": ["wanted"], "HasMoreStreams": False})
        return refused("InvalidArgumentException")

    assert verdicts(check_custom(service)) == ["allowed"] * 3
    assert not any(b"DryRun" in body for body in bodies)
    assert sum(b"340282366920938463463374607431768211456" in body for body in bodies) == 2


def test_an_endpoint_that_accepts_the_probe_is_probed_no_further() -> None:
    """What may have been written is said, and the other put is left unknown."""
    aws = FakeAws({"wanted": "ACTIVE"})
    found = check_custom(aws)
    assert verdicts(found) == ["allowed", "allowed", "unknown"]
    assert aws.written == 1
    assert "may have been written" in found.warnings[0]


def test_a_refusal_of_the_entry_is_a_refusal() -> None:
    """A server may answer PutRecords with 200 and refuse the one record in it."""
    entry = {"ErrorCode": "InvalidArgumentException", "ErrorMessage": "ExplicitHashKey"}

    def service(got: Got) -> bytes:
        if got.action == "ListStreams":
            return answer(200, {"StreamNames": ["wanted"], "HasMoreStreams": False})
        if got.action == "PutRecord":
            return refused("InvalidArgumentException")
        return answer(200, {"FailedRecordCount": 1, "Records": [entry]})

    found = check_custom(service)
    assert verdicts(found) == ["allowed"] * 3
    assert found.warnings == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refused("UnrecognizedClientException"), "check access key id, secret key"),
        (refused("InvalidSignatureException", "The request signature we calculated"), "check access key id"),
        (refused("InvalidSignatureException", "Credential should be scoped to a valid region."), "another region"),
        (refused("ExpiredTokenException"), "session token has expired"),
        (answer(404, b"<html></html>"), "check the endpoint URL"),
        (answer(200, b"<html></html>"), "check the endpoint URL"),
        (HANG_UP, "without an answer"),
    ],
)
def test_trouble_that_stops_everything_is_told_once(reply: bytes, said: str) -> None:
    """One problem, three unknown verdicts, no more calls than needed."""
    calls: list[str] = []

    def service(got: Got) -> bytes:
        calls.append(got.action)
        return reply

    for found in (check_as_aws(service), check_custom(service)):
        assert verdicts(found) == ["unknown"] * 3
        (problem,) = found.problems
        assert said in problem
    assert calls == ["ListStreams"] * 2


def test_a_busy_service_is_no_problem_of_the_connection() -> None:
    """Throttled on each call: unknown, to be run again, and the flow may run."""
    found = check_as_aws(lambda _: refused("LimitExceededException"))
    assert verdicts(found) == ["unknown"] * 3
    assert found.ok
    assert len(found.warnings) == 3


def test_a_wrong_clock_is_told_and_does_not_hide_the_verdicts() -> None:
    """The call is made once more with the service's time."""
    aws = FakeAws({"wanted": "ACTIVE"})

    def service(got: Got) -> bytes:
        good = got.headers["x-amz-date"].startswith("20261124T10")
        return aws(got) if good else refused("InvalidSignatureException", "Signature expired: 20261124T073026Z")

    found = check_as_aws(service, now_ms=NOW_MS - 3 * 3_600_000)
    assert verdicts(found) == ["allowed"] * 3
    (warning,) = found.warnings
    assert "clock is -10800 s off" in warning


def test_nobody_listening_and_no_region() -> None:
    """The endpoint or the region is named."""
    port = free_port()
    found = asyncio.run(check("s", at(f"http://127.0.0.1:{port}")))
    assert found.problems == [
        f"no connection to 127.0.0.1:{port}; check that it is up and reachable from this machine"
    ]
    found = asyncio.run(KINESIS.check({"accessKeyId": "A", "secretKey": "s", "region": "euwest-1"}, {"stream": "s"}))
    assert "did you mean 'eu-west-1'" in found.problems[0]
    assert verdicts(safe(found)) == ["unknown"] * 3


def test_mistakes_between_parameters_head_the_problems() -> None:
    """The destination's own check says them too."""
    auth = {
        "accessKeyId": "A",
        "secretKey": "s",
        "region": "eu-west-1",
        "endpointUrl": f"http://127.0.0.1:{free_port()}",
    }
    found = asyncio.run(KINESIS.check(auth, {"stream": "s", "region": "us-east-1"}))
    assert found.problems[0].startswith("target.region: differs")
    assert len(found.problems) == 2


NAME = st.text("-._azAZ09b", min_size=1, max_size=6)


@settings(deadline=None)
@given(NAME, st.lists(NAME, max_size=20))
def test_a_listing_after_the_predecessor_begins_with_the_name(name: str, others: list[str]) -> None:
    """Among any names, sorted by their bytes."""
    start = predecessor(name)
    assert len(start) <= 128
    after = sorted(n for n in {name, *others} if n > start)
    assert after[0] == name
