"""Requests go through a proxy as a tunnel: what it sees, what it may refuse, and what is never told."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.kinesis import KINESIS
from tests.destinations.contract import Rec
from tests.destinations.kinesis.raw_server import RawServer, accepted
from tests.destinations.kinesis.tunnel import Tunnel
from tests.servers import free_port

AUTH = {"accessKeyId": "A", "secretKey": "s", "region": "eu-west-1"}
MESSAGE = b"nobody on the way may see this"
NAME = "localhost"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names no proxy."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def write(
    authority: trustme.CA, ca_file: str, tunnel: Tunnel | None, url: str = "", **auth: Any
) -> tuple[Outcome, Tunnel | None, RawServer]:
    """Write one record to a TLS server, by a proxy that runs meanwhile unless *url* names another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def through(proxy_url: str, server: RawServer) -> Outcome:
        given = {**AUTH, "endpointUrl": server.url, "caFile": ca_file, "proxyUrl": proxy_url, **auth}
        assert not KINESIS.mistakes(given, {"stream": "s"})
        writer = KINESIS.writer(given, {"stream": "s", "timeoutMs": 5000, "encoding": "cbor"})
        (outcome,) = await writer.write([Rec("k", MESSAGE)])
        await writer.close()
        return outcome

    async def run() -> tuple[Outcome, Tunnel | None, RawServer]:
        async with RawServer(lambda _: accepted(1), context) as server:
            if tunnel is None:
                return await through(url, server), None, server
            async with tunnel:
                return await through(tunnel.url, server), tunnel, server

    return asyncio.run(run())


def test_a_request_goes_through_the_proxy_unseen(authority: trustme.CA, ca_file: str) -> None:
    """As a tunnel: the proxy learns host and port, and the certificate is verified at its end."""
    outcome, tunnel, server = write(authority, ca_file, Tunnel())
    assert tunnel is not None
    assert outcome.verdict == Verdict.DELIVERED
    assert tunnel.asked == [f"CONNECT {server.url.removeprefix('https://')} HTTP/1.1"]
    assert MESSAGE in server.got[0].body
    assert tunnel.carried
    assert MESSAGE not in tunnel.carried
    assert "proxy-authorization" not in server.got[0].headers


def test_user_and_password_are_for_the_proxy_alone(authority: trustme.CA, ca_file: str) -> None:
    """They reach it, and not the endpoint."""
    outcome, tunnel, server = write(
        authority, ca_file, Tunnel("me:the-secret:word"), proxyUser="me", proxyPassword="the-secret:word"
    )
    assert tunnel is not None
    assert outcome.verdict == Verdict.DELIVERED
    assert "proxy-authorization" not in server.got[0].headers


@pytest.mark.parametrize(
    ("refuse", "verdict"), [(407, Verdict.HALT), (403, Verdict.HALT), (502, Verdict.RETRY), (503, Verdict.RETRY)]
)
def test_a_proxy_that_refuses_is_named(authority: trustme.CA, ca_file: str, refuse: int, verdict: Verdict) -> None:
    """Nothing was sent; who refuses the user stops the flow. The password is not told."""
    tunnel = Tunnel(refuse=refuse) if refuse != 407 else Tunnel("me:other")
    outcome, _, server = write(authority, ca_file, tunnel, proxyUser="me", proxyPassword="the-secret")
    assert (outcome.verdict, outcome.code) == (verdict, "proxy-refused")
    assert str(refuse) in outcome.detail
    assert tunnel.url in outcome.detail
    assert "the-secret" not in repr(outcome)
    assert server.got == []


def test_a_proxy_that_is_not_there_means_not_written(authority: trustme.CA, ca_file: str) -> None:
    """It is named, not the endpoint."""
    url = f"http://127.0.0.1:{free_port()}"
    outcome, _, server = write(authority, ca_file, None, url)
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "no-proxy")
    assert url in outcome.detail
    assert server.got == []


def test_a_certificate_is_verified_through_a_proxy_too(authority: trustme.CA, tmp_path: Path) -> None:
    """A tunnel that leads elsewhere is found out."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    outcome, _, server = write(authority, str(other), Tunnel())
    assert (outcome.verdict, outcome.code) == (Verdict.HALT, "certificate")
    assert server.got == []


def test_the_environments_proxy_counts_but_not_for_this_machine(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY leads to a proxy that is not there; an endpoint on this machine is reached all the same."""
    port = free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")
    outcome, _, _ = write(authority, ca_file, None)
    assert outcome.verdict == Verdict.DELIVERED

    async def elsewhere(**auth: Any) -> Outcome:
        writer = KINESIS.writer({**AUTH, "endpointUrl": "https://kinesis.invalid", **auth}, {"stream": "s"})
        (found,) = await writer.write([Rec("k", MESSAGE)])
        await writer.close()
        return found

    outcome = asyncio.run(elsewhere())
    assert (outcome.code, f"127.0.0.1:{port}" in outcome.detail) == ("no-proxy", True)
    assert "secret" not in repr(outcome)
    assert asyncio.run(elsewhere(proxyUrl="none")).code == "no-address"
    monkeypatch.setenv("NO_PROXY", "example.com, .invalid")
    assert asyncio.run(elsewhere()).code == "no-address"


def test_a_check_goes_the_same_way(authority: trustme.CA, ca_file: str) -> None:
    """Its calls come through the tunnel."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def run() -> tuple[list[str], int]:
        async with RawServer(lambda _: accepted(1), context) as server, Tunnel() as tunnel:
            given = {**AUTH, "endpointUrl": server.url, "caFile": ca_file, "proxyUrl": tunnel.url}
            await KINESIS.check(given, {"stream": "s"})
            return tunnel.asked, len(server.got)

    asked, requests = asyncio.run(run())
    assert asked
    assert requests
