"""Every error of the collection listener: its status, and one shape of body."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import SourceUnreadableError
from headrace.sources.http import HttpCollection
from headrace.sources.problems import PROBLEMS, problem
from tests.sources.contract import flat
from tests.sources.posting import SMALL, UPDATE, Answer, listening, run

BOMB = gzip.compress(b" " * 50_000_000)
MANY = b'{"messages":[' + b",".join([b"1"] * 11) + b"]}"


def check(answer: Answer, status: int, code: str) -> None:
    """The answer is this error, in the shape of all errors."""
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.body
    assert set(body) == {"type", "status", "title", "detail", "errorCode", "errorMessage", "errorDetails"}
    assert (body["status"], body["errorCode"], body["type"]) == (status, code, f"/errors/{code}")
    assert body["title"] == body["errorMessage"] == PROBLEMS.get(code, (0, body["title"]))[1]
    assert body["detail"] == body["errorDetails"]
    assert body["detail"]


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 10_000


CASES: list[tuple[str, dict[str, Any], int, str]] = [
    ("/", {"method": "GET"}, 404, "unknown-path"),
    ("/collection", {}, 404, "unknown-path"),
    ("/collection/", {}, 404, "unknown-path"),
    ("/collection/batch/", {}, 404, "unknown-path"),
    ("/collection/web/more", {}, 404, "unknown-path"),
    ("/collection/other", {}, 404, "unknown-inlet"),
    ("/collection/batch/other", {}, 404, "unknown-inlet"),
    ("/collection/web", {"method": "GET", "body": None}, 405, "method-not-allowed"),
    ("/collection/batch/web", {"method": "PUT"}, 405, "method-not-allowed"),
    ("/collection/web", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "media-type"),
    ("/collection/web", {"Content_Encoding": "br"}, 415, "media-type"),
    ("/collection/web", {"Content_Encoding": "gzip"}, 400, "bad-request"),
    ("/collection/web", {"Content_Encoding": "gzip", "body": gzip.compress(UPDATE)[:-3]}, 400, "bad-request"),
    ("/collection/web", {"Content_Encoding": "gzip", "body": b""}, 400, "bad-request"),
    ("/collection/web", {"Content_Encoding": "gzip", "body": BOMB}, 413, "body-too-large"),
    ("/collection/web", {"body": b" " * 100_001}, 413, "body-too-large"),
    ("/collection/web", {"body": b" " * 1_000_000}, 413, "body-too-large"),
    ("/collection/batch/web", {"body": b" " * 100_001}, 413, "body-too-large"),
    ("/collection/batch/web", {"body": b"{"}, 400, "not-json"),
    ("/collection/batch/web", {"body": b'{"messages":[{]}'}, 400, "not-json"),
    ("/collection/batch/web", {"body": b'{"messages":' + b"[" * 90_000}, 400, "not-json"),
    ("/collection/batch/web", {"body": b'{"messages":[1]} x'}, 400, "not-json"),
    ("/collection/batch/web", {"body": b'{"\xff":[1]}'}, 400, "bad-batch"),
    ("/collection/batch/web", {"body": b""}, 400, "not-json"),
    ("/collection/batch/web", {"body": b"[]"}, 400, "bad-batch"),
    ("/collection/batch/web", {"body": UPDATE}, 400, "bad-batch"),
    ("/collection/batch/web", {"body": b'{"messages":{}}'}, 400, "bad-batch"),
    ("/collection/batch/web", {"body": b'{"messages":[]}'}, 400, "bad-batch"),
    ("/collection/batch/web", {"body": MANY}, 400, "bad-batch"),
]


def test_errors() -> None:
    """Each mistake has its status and code, all in one shape, and a good request passes after each."""

    async def test() -> None:
        async with listening(inlets={"web"}, max_messages=10, **SMALL) as (source, client, seen):
            for path, request, status, code in CASES:
                check(await client.send(path, **request), status, code)
                assert (await client.send("/collection/web")).status == 200
            check(await client.send("/collection/web", chunks(20)), 413, "body-too-large")
            assert flat(seen) == [UPDATE] * len(CASES)
            assert source._arrivals._held_bytes == 0

    run(test)


def test_every_problem_has_a_test() -> None:
    """The closed list of problems is the one tested here and in test_http.py."""
    elsewhere = {
        "unauthorized",
        "forbidden",
        "timeout",
        "busy",
        "head-too-large",
        "internal",
        "closing",
        "unknown-fate",
    }
    assert set(PROBLEMS) == {code for *_, code in CASES} - {"not-json"} | elsewhere
    for code, (status, title) in PROBLEMS.items():
        assert (problem(code).status, problem(code).title) == (status, title)


def test_gzip_and_chunked_bodies_pass() -> None:
    """Compressed and chunked bodies reach the engine as they were before."""

    async def test() -> None:
        async with listening(**SMALL) as (_, client, seen):
            large = b'"' + b"x" * 90_000 + b'"'
            for body in (UPDATE, large):
                answer = await client.send("/collection/web", gzip.compress(body), Content_Encoding="GZIP")
                assert answer.status == 200

            async def pieces() -> AsyncIterator[bytes]:
                for at in range(0, len(large), 20_000):
                    yield large[at : at + 20_000]

            assert (await client.send("/collection/web", pieces())).status == 200
            kind = "application/vnd.adobe.xdm+json; charset=utf-8"
            assert (await client.send("/collection/web", Content_Type=kind)).status == 200
            assert flat(seen) == [UPDATE, large, large, UPDATE]

    run(test)


def test_tokens() -> None:
    """An inlet with a token needs it: 401 without one or with a wrong one, 403 with another inlet's; never told."""

    async def test() -> None:
        async with listening(tokens={"web": "secret-1", "shop": "secret-2"}) as (_, client, seen):
            wrong: list[dict[str, str]] = [{}, {"Authorization": "Basic secret-1"}, {"Authorization": "Bearer wrong"}]
            for path in ("/collection/web", "/collection/batch/web"):
                for headers in wrong:
                    answer = await client.send(path, **headers)
                    check(answer, 401, "unauthorized")
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                check(await client.send(path, Authorization="Bearer secret-2"), 403, "forbidden")
            assert (await client.send("/collection/web", Authorization="bearer secret-1")).status == 200
            assert (await client.send("/collection/open")).status == 200
            assert len(flat(seen)) == 2

    run(test)


async def raw(port: int, text: bytes) -> bytes:
    """What comes back for *text*, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    got = await reader.read()
    writer.close()
    return got


def test_what_is_not_http_is_refused_in_the_same_shape() -> None:
    """Text that is no HTTP, and a head without end, are refused with JSON and the connection is closed."""

    async def test() -> None:
        async with listening() as (source, client, _):
            assert b'"errorCode":"bad-request"' in await raw(source.port, b"hello\r\n\r\n")
            got = await raw(source.port, b"POST /collection/web HTTP/1.1\r\nX: " + b"y" * 400_000)
            assert got.startswith(b"HTTP/1.1 431 ")
            assert b'"errorCode":"head-too-large"' in got
            assert (await client.send("/collection/web")).status == 200

    run(test)


def test_a_body_that_does_not_come_times_out() -> None:
    """A body that stops half way is given up after the limit, and its bytes are free again."""

    async def test() -> None:
        async with listening(body_timeout_s=0.05) as (source, _, _):
            got = await raw(source.port, b"POST /collection/web HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            assert got.startswith(b"HTTP/1.1 408 ")
            assert b'"errorCode":"timeout"' in got
            assert source._arrivals._held_bytes == 0

    run(test)


def test_pages_of_the_owner(caplog: pytest.LogCaptureFixture) -> None:
    """Extra GET paths answer as their owner says; one that fails is 500 and neither body nor log says why."""

    async def ready() -> tuple[int, str, bytes]:
        return 503, "text/plain; version=0.0.4", b'"not yet"'

    async def broken() -> tuple[int, str, bytes]:
        raise RuntimeError("ada@example.com")

    async def test() -> None:
        async with listening(extra={"/readyz": ready, "/metrics": broken}) as (_, client, _):
            answer = await client.send("/readyz", None, "GET")
            assert (answer.status, answer.body) == (503, "not yet")
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
            answer = await client.send("/readyz", None, "HEAD")
            assert (answer.status, answer.body) == (503, None)
            answer = await client.send("/readyz", b"")
            check(answer, 405, "method-not-allowed")
            assert answer.headers["Allow"] == "GET, HEAD"
            answer = await client.send("/metrics", None, "GET")
            check(answer, 500, "internal")
            assert "ada" not in str(answer.body) + caplog.text
            assert "RuntimeError" in caplog.text

    run(test)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A self-signed certificate and its key, made by openssl."""
    import subprocess

    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(chain)], check=True, capture_output=True, timeout=30)
    return str(chain), str(key)


def test_tls(certificate: tuple[str, str]) -> None:
    """With a certificate the listener speaks TLS; one that cannot be used is refused when it is opened."""
    chain, key = certificate

    async def test() -> None:
        async with listening(scheme="https", certificate=chain, key=key) as (_, client, seen):
            assert (await client.send("/collection/web")).status == 200
            assert flat(seen) == [UPDATE]
        with pytest.raises(SourceUnreadableError, match="the certificate or its key cannot be used"):
            await HttpCollection(certificate=chain, key=chain).open(None)

    run(test)


def test_the_queue_must_hold_a_body() -> None:
    """Settings under which no body could ever be taken are refused."""
    with pytest.raises(ValueError, match="queue_bytes must hold a body twice"):
        HttpCollection(max_body_bytes=1000, queue_bytes=2000)


def test_an_empty_token_is_no_token() -> None:
    """An empty token would let everybody in, so it is refused."""
    with pytest.raises(ValueError, match="a token may not be empty"):
        HttpCollection(tokens={"web": ""})
