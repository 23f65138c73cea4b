"""The writer's verdicts under every kind of trouble, on a server that makes the trouble (T1 to T3, R5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import cbor2
import msgspec
import pytest
import structlog

from headrace import logs
from headrace.aws import Credentials, CredentialsError, Route, StaticCredentials, endpoint_for
from headrace.clock import Manual
from headrace.destinations.base import Limits, Outcome, Record, Verdict
from headrace.destinations.kinesis.writer import KinesisWriter
from headrace.kinesis.connection import Connection
from tests.destinations.contract import Rec, records
from tests.destinations.kinesis.raw_server import (
    HANG,
    HANG_UP,
    NOW_MS,
    Got,
    RawServer,
    accepted,
    answer,
    refused,
)
from tests.servers import free_port

TOKEN = "the-token-nobody-may-see"
SECRET = "the-secret-nobody-may-see"
KEYS = Credentials("AKIA", SECRET, TOKEN)


def writer_to(url: str, **options: Any) -> KinesisWriter:
    """A writer with a clock that stands at the server's time."""
    given = {"clock": Manual(NOW_MS), "credentials": StaticCredentials(KEYS), **options}
    keys = given.pop("credentials")
    route = Route(ca_file=given.pop("ca_file", ""))
    connection = Connection("eu-west-1", endpoint_for("kinesis", "eu-west-1", url), keys, route)
    return KinesisWriter("s", connection, **given)


def write(
    reply: bytes | Callable[[Got], bytes], sent: Sequence[Record] | None = None, **options: Any
) -> tuple[Sequence[Outcome], RawServer]:
    """Write once to a server that answers so; nothing may have been sent twice (T1, W4)."""

    async def run() -> tuple[Sequence[Outcome], RawServer]:
        async with RawServer(reply if callable(reply) else lambda _: reply) as server:
            writer = writer_to(server.url, **options)
            found = await writer.write(sent or records(3))
            await writer.close()
        return found, server

    found, server = asyncio.run(run())
    assert len(server.got) == 1
    assert len(found) == len(sent or records(3))
    for outcome in found:
        assert SECRET not in repr(outcome)
        assert TOKEN not in repr(outcome)
    return found, server


def only(found: Sequence[Outcome]) -> Outcome:
    """The outcome that all records share."""
    assert all(o == found[0] for o in found)
    return found[0]


def test_a_request_is_what_kinesis_expects() -> None:
    """Target, content type and host are signed; nothing is asked for that would change the answer's bytes."""
    found, server = write(accepted(3))
    assert [o.verdict for o in found] == [Verdict.DELIVERED] * 3
    (got,) = server.got
    assert got.headers["x-amz-target"] == "Kinesis_20131202.PutRecords"
    assert got.headers["content-type"] == "application/x-amz-json-1.1"
    assert got.headers["host"] == server.url.removeprefix("http://")
    assert (
        "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target" in got.headers["authorization"]
    )
    assert not {"accept-encoding", "transfer-encoding", "cookie"} & set(got.headers)
    assert got.json["StreamName"] == "s"


def test_connections_are_kept_and_bounded() -> None:
    """Requests one after the other share a connection; at once, they share as many as the limits say."""

    async def run() -> tuple[int, int]:
        async with RawServer(lambda got: accepted(len(got.json["Records"]))) as server:
            writer = writer_to(server.url, limits=Limits(in_flight=2))
            for _ in range(3):
                await writer.write(records(1))
            one = server.connections
            await asyncio.gather(*(writer.write(records(1)) for _ in range(10)))
            await writer.close()
            return one, server.connections

    assert asyncio.run(run()) == (1, 2)


@pytest.mark.parametrize(
    ("reply", "verdict", "code"),
    [
        (refused("ProvisionedThroughputExceededException"), Verdict.RETRY, "ProvisionedThroughputExceededException"),
        (refused("ThrottlingException"), Verdict.RETRY, "ThrottlingException"),
        (refused("KMSThrottlingException"), Verdict.RETRY, "KMSThrottlingException"),
        (refused("SomethingNewException"), Verdict.RETRY, "SomethingNewException"),
        (refused("AccessDeniedException"), Verdict.HALT, "AccessDeniedException"),
        (refused("ResourceNotFoundException"), Verdict.HALT, "ResourceNotFoundException"),
        (refused("KMSDisabledException"), Verdict.HALT, "KMSDisabledException"),
        (refused("UnrecognizedClientException"), Verdict.HALT, "UnrecognizedClientException"),
        (refused("InvalidSignatureException"), Verdict.HALT, "InvalidSignatureException"),
        (refused("ValidationException"), Verdict.SPLIT, "ValidationException"),
        (refused("InvalidArgumentException"), Verdict.SPLIT, "InvalidArgumentException"),
        (refused("SerializationException"), Verdict.SPLIT, "SerializationException"),
        (answer(413, b"too large"), Verdict.SPLIT, "http-413"),
        (answer(429, b"slow down"), Verdict.RETRY, "http-429"),
        (answer(404, b"<html>not here</html>"), Verdict.HALT, "http-404"),
        (answer(301, b"", Location="https://elsewhere.example/"), Verdict.HALT, "http-301"),
        (refused("InternalFailure", status=500), Verdict.UNKNOWN, "InternalFailure"),
        (answer(503, b"<html>busy</html>"), Verdict.UNKNOWN, "http-503"),
        (refused("AccessDeniedException", status=500), Verdict.UNKNOWN, "AccessDeniedException"),
        (answer(202, b""), Verdict.UNKNOWN, "http-202"),
        (answer(200, b"not json"), Verdict.UNKNOWN, "answer-unreadable"),
        (accepted(2), Verdict.UNKNOWN, "answer-count"),
    ],
)
def test_a_request_refused_whole(reply: bytes, verdict: Verdict, code: str) -> None:
    """Every record gets the verdict of its class, with the code and a text."""
    found, _ = write(reply)
    outcome = only(found)
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert outcome.detail
    assert not outcome.shard
    assert not outcome.sequence


@pytest.mark.parametrize("reply", [refused("ValidationException"), answer(413, b"")])
def test_content_refused_for_one_record_is_a_rejection(reply: bytes) -> None:
    """There is nothing left to split."""
    found, _ = write(reply, records(1, size_bytes=50))
    assert only(found).verdict == Verdict.REJECTED
    assert "52 bytes with a key of 2 characters" in only(found).detail


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x_amz_retry_after": "1500"}, 1.5),
        ({"Retry_After": "7"}, 7.0),
        ({"x_amz_retry_after": "250", "Retry_After": "7"}, 0.25),
        ({"x_amz_retry_after": "-1"}, 0.0),
        ({"x_amz_retry_after": "soon"}, 0.0),
        ({"Retry_After": "Tue, 24 Nov 2026 10:30:26 GMT"}, 0.0),
    ],
)
def test_the_wait_asked_for_is_passed_on(headers: dict[str, Any], wait_s: float) -> None:
    """Milliseconds in Amazon's header, seconds in the standard one; what is no number is no wait."""
    assert only(write(refused("ThrottlingException", **headers))[0]).wait_s == wait_s
    assert only(write(refused("ServiceUnavailable", status=503, **headers))[0]).wait_s == wait_s


def test_no_answer_in_time_leaves_the_fate_unknown() -> None:
    """The request went out and may have been written."""
    found, _ = write(HANG, timeout_s=0.3)
    assert (only(found).verdict, only(found).code) == (Verdict.UNKNOWN, "timeout")


@pytest.mark.parametrize(
    "reply", [HANG_UP, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"\x00garbage\r\n\r\n"]
)
def test_a_lost_connection_leaves_the_fate_unknown(reply: bytes) -> None:
    """Closed without an answer, within it, or with something that is no HTTP at all; and it is sent once."""

    def once(got: Got) -> bytes:
        del got
        return reply

    found, _ = write(once, timeout_s=0.5)
    assert only(found).verdict == Verdict.UNKNOWN


def test_a_kept_connection_that_was_closed_is_not_tried_again_by_the_transport() -> None:
    """The second request may have arrived before the close was seen: unknown or delivered, never sent twice."""

    async def run() -> tuple[Outcome, int]:
        replies = [accepted(1), HANG_UP, accepted(1)]
        async with RawServer(lambda _: replies.pop(0)) as server:
            writer = writer_to(server.url)
            await writer.write(records(1))
            (second,) = await writer.write(records(1))
            await writer.close()
            return second, len(server.got)

    second, count = asyncio.run(run())
    assert (second.verdict, count) == (Verdict.UNKNOWN, 2)


def run(what: Coroutine[Any, Any, Any]) -> Any:
    """Run in a loop of its own."""
    return asyncio.run(what)


async def _write_and_close(writer: KinesisWriter) -> Outcome:
    (outcome,) = await writer.write(records(1))
    await writer.close()
    return outcome


def test_nobody_listening_means_not_written() -> None:
    """Refused before a byte was sent; the text names the endpoint."""
    port = free_port()
    outcome = run(_write_and_close(writer_to(f"http://127.0.0.1:{port}")))
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "no-connection")
    assert f"127.0.0.1:{port}" in outcome.detail


def test_a_host_without_address_means_not_written() -> None:
    """Names under .invalid never resolve (RFC 6761)."""
    outcome = run(_write_and_close(writer_to("https://kinesis.invalid")))
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "no-address")


def test_plain_speech_on_a_tls_port_means_not_written() -> None:
    """The handshake fails, so nothing of the request was sent."""

    async def go() -> Outcome:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del reader
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await _write_and_close(writer_to(f"https://127.0.0.1:{port}", timeout_s=5))

    outcome = run(go())
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "no-connection")


def test_a_wrong_clock_is_corrected_from_the_answer() -> None:
    """An hour slow: the first write is refused and to be tried again, the next is signed with the service's time."""
    for code in ("RequestExpired", "InvalidSignatureException"):

        def reply(got: Got, code: str = code) -> bytes:
            return accepted(1) if got.headers["x-amz-date"] == "20261124T103026Z" else refused(code)

        async def go(reply: Callable[[Got], bytes] = reply) -> list[Outcome]:
            async with RawServer(reply) as server:
                writer = writer_to(server.url, clock=Manual(NOW_MS - 3_600_000))
                found = [*await writer.write(records(1)), *await writer.write(records(1))]
                await writer.close()
                return found

        first, second = run(go())
        assert first.verdict == Verdict.RETRY
        assert "+3600 s" in first.detail
        assert second.verdict == Verdict.DELIVERED


def test_requests_signed_before_the_correction_do_not_correct_again() -> None:
    """Two refusals of the same wrong time move the clock once."""

    async def go() -> list[str]:
        async with RawServer(lambda _: refused("RequestExpired")) as server:
            writer = writer_to(server.url, clock=Manual(NOW_MS - 3_600_000))
            await asyncio.gather(writer.write(records(1)), writer.write(records(1)))
            await writer.write(records(1))
            await writer.close()
            return [got.headers["x-amz-date"] for got in server.got]

    assert run(go()) == ["20261124T093026Z", "20261124T093026Z", "20261124T103026Z"]


class Rotating:
    """Keys that can be renewed once."""

    def __init__(self) -> None:
        self.keys = [Credentials("OLD", "s"), Credentials("NEW", "s")]
        self.heard: list[str] = []

    async def get(self) -> Credentials:
        return self.keys[0]

    def expire(self, used: Credentials) -> bool:
        self.heard.append(used.access_key)
        if len(self.keys) > 1:
            self.keys.pop(0)
        return True

    async def close(self) -> None:
        """There is nothing to give up."""


def test_expired_keys_are_renewed_and_the_records_tried_again() -> None:
    """The provider hears which keys expired; the next write uses others."""
    keys = Rotating()

    def reply(got: Got) -> bytes:
        return refused("ExpiredTokenException") if "Credential=OLD/" in got.headers["authorization"] else accepted(1)

    async def go() -> list[Outcome]:
        async with RawServer(reply) as server:
            writer = writer_to(server.url, credentials=keys)
            found = [*await writer.write(records(1)), *await writer.write(records(1))]
            await writer.close()
            return found

    assert [o.verdict for o in run(go())] == [Verdict.RETRY, Verdict.DELIVERED]
    assert keys.heard == ["OLD"]


def test_expired_keys_that_were_given_by_hand_halt() -> None:
    """Trying again cannot help until somebody gives new ones."""
    outcome = only(write(refused("ExpiredTokenException"))[0])
    assert outcome.verdict == Verdict.HALT
    assert "give a new one" in outcome.detail


def test_no_keys_means_not_written() -> None:
    """A provider that fails for now is asked again by the next write."""

    class Nothing:
        async def get(self) -> Credentials:
            raise CredentialsError(problem="no credentials from nowhere")

        def expire(self, used: Credentials) -> bool:
            raise AssertionError(used)

        async def close(self) -> None:
            pass

    async def go() -> tuple[Outcome, int]:
        async with RawServer(lambda _: accepted(1)) as server:
            return await _write_and_close(writer_to(server.url, credentials=Nothing())), len(server.got)

    outcome, requests = run(go())
    assert (outcome.verdict, outcome.code, requests) == (Verdict.RETRY, "credentials", 0)


def test_t3_a_service_that_quotes_everything_is_not_quoted() -> None:
    """Keys, tokens and values in the service's message reach no outcome."""
    leak = f"Value 'k0' and '{SECRET}' and '{TOKEN}' at 'records.1.member.partitionKey'"
    for code in ("ValidationException", "InvalidSignatureException", "AccessDeniedException", "NewException"):
        outcome = only(write(refused(code, leak))[0])
        assert "k0" not in outcome.detail
        assert "Value" not in outcome.detail
    entries = [{"ErrorCode": "InternalFailure", "ErrorMessage": leak}] * 3
    for outcome in write(answer(200, {"FailedRecordCount": 3, "Records": entries}))[0]:
        assert "k0" not in outcome.detail
        assert SECRET not in outcome.detail


def test_cancelling_a_write_closes_its_connection() -> None:
    """A cancelled request leaves nothing that a later one could take for its answer."""

    async def go() -> list[int]:
        replies = [HANG, accepted(1)]
        async with RawServer(lambda _: replies.pop(0)) as server:
            writer = writer_to(server.url)
            task = asyncio.create_task(writer.write(records(1)))
            while not server.got:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            (later,) = await writer.write(records(1))
            await writer.close()
            return [later.verdict, server.connections]

    assert run(go()) == [Verdict.DELIVERED, 2]


# -- encodings and limits --------------------------------------------------------------------------

CBOR = "application/x-amz-cbor-1.1"
JSON = "application/x-amz-json-1.1"


def in_cbor(count: int) -> bytes:
    """An answer in CBOR that accepts *count* records."""
    entries = [{"SequenceNumber": "4" * 56, "ShardId": "shardId-000000000000"}] * count
    return answer(200, cbor2.dumps({"FailedRecordCount": 0, "Records": entries}))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (refused("SerializationException"), Verdict.RETRY),
        (refused("UnknownOperationException", status=404), Verdict.RETRY),
        (answer(400, cbor2.dumps({"__type": "SerializationException", "message": "m"})), Verdict.RETRY),
        (answer(415, b"Unsupported Media Type"), Verdict.RETRY),
        (answer(500, b"<html>Internal Server Error</html>"), Verdict.UNKNOWN),
    ],
)
def test_an_endpoint_without_cbor_is_spoken_to_in_json(
    reply: bytes, verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once for all: requests under way are to be tried again, the next ones are in JSON, one line says so."""

    async def go() -> tuple[list[Sequence[Outcome]], list[str]]:
        async with RawServer(
            lambda got: reply if got.headers["content-type"] == CBOR else accepted(len(got.json["Records"]))
        ) as server:
            writer = writer_to(server.url, encoding="cbor")
            found = list(await asyncio.gather(*(writer.write(records(2)) for _ in range(5))))
            found.append(await writer.write(records(2)))
            await writer.close()
            return found, [got.headers["content-type"] for got in server.got]

    logs.configure("info", "json")
    try:
        found, types = run(go())
    finally:
        structlog.reset_defaults()
    assert [[o.verdict for o in each] for each in found] == [[verdict] * 2] * 5 + [[Verdict.DELIVERED] * 2]
    assert types == [CBOR] * 5 + [JSON]
    lines = capsys.readouterr().err.splitlines()
    assert [msgspec.json.decode(line)["event"] for line in lines] == ["the endpoint does not take CBOR, JSON is used"]


def test_an_endpoint_that_took_cbor_once_is_not_doubted() -> None:
    """What it refuses later is refused for its content, and a failure is a failure."""
    replies = [in_cbor(2), refused("SerializationException"), answer(500, b"<html>no</html>"), in_cbor(2)]

    async def go() -> tuple[list[Sequence[Outcome]], set[str]]:
        async with RawServer(lambda _: replies.pop(0)) as server:
            writer = writer_to(server.url, encoding="cbor")
            found = [await writer.write(records(2)) for _ in range(4)]
            await writer.close()
            return found, {got.headers["content-type"] for got in server.got}

    found, types = run(go())
    assert [o.verdict for (o, _) in found] == [Verdict.DELIVERED, Verdict.SPLIT, Verdict.UNKNOWN, Verdict.DELIVERED]
    assert types == {CBOR}


def test_other_refusals_do_not_change_the_encoding() -> None:
    """Throttles, denials and an overloaded gateway say nothing of CBOR."""
    codes = ["ThrottlingException", "AccessDeniedException", "ValidationException"]
    replies = [*map(refused, codes), answer(503, b"<html>busy</html>"), refused("InternalFailure", status=500)]

    async def go() -> set[str]:
        async with RawServer(lambda _: replies.pop(0)) as server:
            writer = writer_to(server.url, encoding="cbor")
            for _ in range(5):
                await writer.write(records(2))
            await writer.close()
            return {got.headers["content-type"] for got in server.got}

    assert run(go()) == {CBOR}


def test_limits_up_to_ten_mebibytes_obey_the_encoded_body() -> None:
    """In JSON the body is the smaller limit, in CBOR hardly; when CBOR is given up, limits follow."""
    most = Limits(request_bytes=10 * 2**20, record_bytes=10 * 2**20)
    url = "https://kinesis.example"
    in_json = writer_to(url, limits=most)
    assert 7.4e6 < in_json.limits.request_bytes < 7.9e6
    assert in_json.limits.record_bytes == 10 * 2**20
    assert writer_to(url).limits == Limits()

    async def go() -> tuple[int, int]:
        async with RawServer(lambda _: answer(415, b"")) as server:
            writer = writer_to(server.url, limits=most, encoding="cbor")
            before = writer.limits.request_bytes
            await writer.write(records(1))
            await writer.close()
            return before, writer.limits.request_bytes

    before, after = run(go())
    assert 10.4e6 < before < 10 * 2**20
    assert after == in_json.limits.request_bytes


def test_a_body_that_grows_over_the_bound_is_split_and_not_sent() -> None:
    """Keys full of characters that JSON escapes, six bytes for each; one record alone goes as it is."""
    limits = Limits(request_bytes=10 * 2**20, record_bytes=10 * 2**20)
    sent = [Rec("\x01" * 256, b"x" * 15_200) for _ in range(500)]

    async def go() -> tuple[Sequence[Outcome], Sequence[Outcome], list[int]]:
        async with RawServer(lambda _: accepted(1)) as server:
            writer = writer_to(server.url, limits=limits)
            assert sum(len(r.data) + len(r.key) for r in sent) <= writer.limits.request_bytes
            many = await writer.write(sent)
            one = await writer.write([Rec("k", b"x" * (10 * 2**20 - 1))])
            await writer.close()
            return many, one, [len(got.body) for got in server.got]

    many, one, bodies = run(go())
    assert {(o.verdict, o.code) for o in many} == {(Verdict.SPLIT, "request-too-large")}
    assert one[0].verdict == Verdict.DELIVERED
    assert [size > 13e6 for size in bodies] == [True]
