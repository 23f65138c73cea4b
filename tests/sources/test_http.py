"""The collection listener: answers, order, back-pressure and closing, with a real client over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec
import pytest

from headrace import clock as clocks
from headrace.errors import SourceUnreadableError
from headrace.sources.arrivals import OVERHEAD_BYTES
from headrace.sources.base import Refused, Source
from headrace.sources.http import HttpCollection
from tests.sources.contract import Scene, SourceContract, flat, taken, updates
from tests.sources.posting import SMALL, UPDATE, Answer, Client, listening, run, until


class HttpScene:
    """A listener and a client that posts one update a request."""

    resumes = False

    def __init__(self) -> None:
        self.posts: list[asyncio.Task[int]] = []

    async def source(self) -> Source:
        return HttpCollection(grace_s=0.2)

    async def _post(self, port: int, body: bytes) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{port}/collection/web", data=body, headers={"Content-Type": "application/json"}
            ) as got,
        ):
            return got.status

    async def offer(self, source: Source, bodies: Sequence[bytes]) -> None:
        assert isinstance(source, HttpCollection)
        arrivals = source._arrivals
        for body in bodies:
            before = arrivals.taken + len(arrivals._waiting)
            self.posts.append(asyncio.create_task(self._post(source.port, body)))
            await until(lambda before=before: arrivals.taken + len(arrivals._waiting) > before)  # type: ignore[misc]

    async def end(self, source: Source) -> None:
        await source.close()

    def answered(self) -> int | None:
        return sum(post.done() for post in self.posts)

    async def settle(self) -> None:
        assert await asyncio.gather(*self.posts) == [200] * len(self.posts)


class TestHttp(SourceContract):
    """The contract, on the listener."""

    def scene(self) -> Scene:
        return HttpScene()


@pytest.mark.parametrize("query", ["", "?syncValidation=true", "?SYNCHRONOUSVALIDATION=True", "?other=1"])
def test_single(query: str) -> None:
    """One update is answered with its inlet, a transaction id and the clock's time."""

    async def test() -> None:
        async with listening(clock=clocks.Manual(1_700_000_000_123)) as (_, client, seen):
            status, headers, body = await client.send("/collection/web" + query)
            assert status == 200
            assert headers["Content-Type"] == "application/json"
            xaction = body.pop("xactionId")
            assert body == {
                "inletId": "web",
                "receivedTimeMs": 1_700_000_000_123,
                "synchronousValidation": {"status": "pass"},
            }
            assert flat(seen) == [UPDATE]
            assert (seen[0].position, seen[0].keep_refused, seen[0].ids) == (None, False, None)
            assert seen[0].place(0) == f"inlet web request {xaction}"

    run(test)


def test_batch_answers_each_message() -> None:
    """A batch is answered 207 with one response a message; what is refused says why; bodies pass byte by byte."""
    messages = [b'{"a": 1.50}', b'{"header":{},"body":{"xdmEntity":{"_id":"x"}}}', b'{"b":"\xff"}', b"7", b'{"e":5}']

    async def test() -> None:
        async with listening(most=2) as (_, client, seen):
            packed = b'{"other":[1], "messages": [' + b" , ".join(messages) + b"]}"
            status, _, body = await client.send("/collection/batch/web", packed)
            assert status == 207
            assert (body["inletId"], len(body["responses"])) == ("web", 5)
            assert body["receivedTimeMs"] > 1_700_000_000_000
            good = [one.get("xactionId") for one in body["responses"]]
            assert good == [f"{body['batchId']}:{index}" if index != 2 else None for index in range(5)]
            why = {"status": 400, "message": "it is not valid JSON in UTF-8", "reason": "not-json"}
            assert body["responses"][2] == why
            assert flat(seen) == messages
            assert [len(batch.bodies) for batch in seen] == [2, 2, 1]
            assert seen[1].place(1) == f"inlet web batch {body['batchId']} message 3"

    run(test)


def test_refused_update_is_told_to_the_client() -> None:
    """An update that the engine refuses is answered 400 with the reason, in the one shape of errors."""

    async def test() -> None:
        async with listening() as (_, client, _):
            status, _, body = await client.send("/collection/web", b"{not json")
            assert status == 400
            assert body["errorCode"] == "not-json"
            assert body["detail"] == body["errorDetails"] == "it is not valid JSON in UTF-8"
            assert (body["status"], body["inletId"]) == (400, "web")
            assert body["xactionId"]
            assert (await client.send("/collection/web")).status == 200

    run(test)


def test_idempotency_keys_become_update_ids() -> None:
    """A key is the update's id; in a batch each message's is the key and its index."""

    async def test() -> None:
        async with listening(reading=False) as (source, client, _):
            posts = []
            for path, body, headers in (
                ("/collection/web", UPDATE, {"Idempotency_Key": "k1"}),
                ("/collection/batch/web", b'{"messages":[{},{}]}', {"Idempotency_Key": "k2"}),
                ("/collection/web", UPDATE, {}),
            ):
                waiting = len(source._arrivals._waiting)
                posts.append(asyncio.create_task(client.send(path, body, **headers)))
                await until(lambda waiting=waiting: len(source._arrivals._waiting) > waiting)  # type: ignore[misc]
            batch = await taken(source, 100)
            assert batch.ids == ["k1", "k2:0", "k2:1", None]
            batch.acknowledge([Refused(2, "bad-time", "no"), Refused(0, "no-identity", "none")])
            single, several, last = await asyncio.gather(*posts)
            assert (single.status, single.body["errorCode"]) == (400, "no-identity")
            assert [one.get("reason") for one in several.body["responses"]] == [None, "bad-time"]
            assert last.status == 200

    run(test)


def test_two_hundred_at_once() -> None:
    """200 parallel clients are all answered, many of them in one batch; each client's order is kept."""

    async def test() -> None:
        async with listening(most=64) as (_, client, seen):

            async def one(number: int) -> list[int]:
                return [
                    (await client.send("/collection/web", msgspec.json.encode([number, turn]))).status
                    for turn in range(4)
                ]

            answers = await asyncio.gather(*(one(number) for number in range(200)))
            assert answers == [[200] * 4] * 200
            got = [msgspec.json.decode(body) for body in flat(seen)]
            assert sorted(got) == [[number, turn] for number in range(200) for turn in range(4)]
            by_client = sorted(
                got, key=lambda pair: int(pair[0])
            )  # stable: the order of arrival stays within a client
            assert by_client == sorted(got)
            assert max(len(batch.bodies) for batch in seen) > 1

    run(test)


def test_pipelined_requests_keep_their_order() -> None:
    """Requests sent on one connection without waiting are read and answered in their order."""

    async def test() -> None:
        async with listening() as (source, _, seen):
            reader, writer = await asyncio.open_connection("127.0.0.1", source.port)
            for body in updates(30):
                length = str(len(body)).encode()
                writer.write(
                    b"POST /collection/web HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n" + body
                )
            for _ in range(30):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            writer.close()
            assert flat(seen) == updates(30)

    run(test)


def test_a_full_queue_turns_away_and_recovers() -> None:
    """Over the bound the answer is 429 with Retry-After, nothing is lost of what was taken, and room comes back."""

    async def test() -> None:
        async with listening(reading=False, **SMALL) as (source, client, _):
            body = b'"' + b"x" * (90_000 - OVERHEAD_BYTES) + b'"'
            posts = [asyncio.create_task(client.send("/collection/web", body)) for _ in range(6)]
            await until(lambda: sum(post.done() for post in posts) >= 3)
            turned = [post.result() for post in posts if post.done()]
            assert [(one.status, one.headers["Retry-After"], one.body["errorCode"]) for one in turned] == [
                (429, "1", "busy")
            ] * 3
            batch = await taken(source, 100)
            assert len(batch.bodies) == 3
            assert (await client.send("/collection/web", body)).status == 429
            batch.acknowledge(())
            await asyncio.gather(*posts)
            assert sorted(post.result().status for post in posts) == [200] * 3 + [429] * 3
            assert source._arrivals._held_bytes == 0
            again = asyncio.create_task(client.send("/collection/web", body))
            (await taken(source, 100)).acknowledge(())
            assert (await again).status == 200

    run(test)


async def _close_while(client: Client, source: HttpCollection) -> tuple[Answer, list[Answer]]:
    """Close with one request read, one waiting, and one that comes later; acknowledge after the later one."""
    first = asyncio.create_task(client.send("/collection/web"))
    batch = await taken(source, 10)
    second = asyncio.create_task(client.send("/collection/web"))
    await until(lambda: len(source._arrivals._waiting) > 0)
    closing = asyncio.create_task(source.close())
    await until(lambda: source._arrivals.closing)
    third = await client.send("/collection/web")
    batch.acknowledge(())
    await closing
    return await first, [await second, third]


def test_closing_answers_what_was_read() -> None:
    """While closing, new and waiting requests get 503 with Retry-After; what was read is answered as acknowledged."""

    async def test() -> None:
        async with listening(reading=False) as (source, client, _):
            first, turned = await _close_while(client, source)
            assert first.status == 200
            assert [(one.status, one.body["errorCode"], one.headers["Retry-After"]) for one in turned] == [
                (503, "closing", "1")
            ] * 2
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.send("/collection/web")

    run(test)


def test_closing_does_not_wait_for_ever() -> None:
    """What is not acknowledged within the grace is answered 503 as of unknown fate, and may be so later."""

    async def test() -> None:
        async with listening(reading=False, grace_s=0.05) as (source, client, _):
            single = asyncio.create_task(client.send("/collection/web"))
            batch = await taken(source, 10)
            several = asyncio.create_task(client.send("/collection/batch/web", b'{"messages":[{},{}]}'))
            half = await taken(source, 1)
            await source.close()
            for post in (single, several):
                answer = await post
                assert (answer.status, answer.body["errorCode"]) == (503, "unknown-fate")
            batch.acknowledge(())
            half.acknowledge(())

    run(test)


def test_a_client_that_leaves_does_not_harm() -> None:
    """A client that hangs up before its answer, or amid its body, leaves the listener well and its bytes free."""

    async def test() -> None:
        async with listening(reading=False) as (source, client, _):
            whole, half = b"Content-Length: 2\r\n\r\n{}", b"Content-Length: 90000\r\n\r\n{"
            for sent in (whole, half):
                _, writer = await asyncio.open_connection("127.0.0.1", source.port)
                writer.write(b"POST /collection/web HTTP/1.1\r\nHost: x\r\n" + sent)
                await until(lambda: source._arrivals._held_bytes > 0)
                batch = await taken(source, 10) if sent is whole else None
                writer.close()
                await writer.wait_closed()
                if batch is not None:
                    batch.acknowledge(())
                await until(lambda: source._arrivals._held_bytes == 0)
            post = asyncio.create_task(client.send("/collection/web"))
            (await taken(source, 10)).acknowledge(())
            assert (await post).status == 200

    run(test)


def test_a_taken_port_is_refused() -> None:
    """Listening where another listens is refused with what to do."""

    async def test() -> None:
        async with listening() as (source, _, _):
            other = HttpCollection(port=source.port)
            with pytest.raises(SourceUnreadableError, match=r"cannot listen: .*; choose another address or port"):
                await other.open(None)
            await other.close()

    run(test)
