"""TLS is spoken, verified against the right authorities, and 1.2 or later."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from headrace.aws import routes
from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.kinesis import KINESIS
from tests.destinations.contract import records
from tests.destinations.kinesis.raw_server import RawServer, accepted
from tests.destinations.kinesis.test_writer import writer_to


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Somebody who vouches for 127.0.0.1."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its certificate."""
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def write_over_tls(authority: trustme.CA, ca_file: str = "", name: str = "127.0.0.1") -> tuple[Outcome, int]:
    """Write to a server whose certificate is for *name*; the outcome, and the requests it got."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    async def run() -> tuple[Outcome, int]:
        async with RawServer(lambda _: accepted(1), context) as server:
            writer = writer_to(server.url, ca_file=ca_file)
            (outcome,) = await writer.write(records(1, size_bytes=2_000_000))
            await writer.close()
            return outcome, len(server.got)

    return asyncio.run(run())


def test_the_systems_authorities_are_believed(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the authority in the system's store a request of two megabytes is written."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    routes._system_tls.cache_clear()
    try:
        outcome, requests = write_over_tls(authority)
    finally:
        routes._system_tls.cache_clear()
    assert (outcome.verdict, requests) == (Verdict.DELIVERED, 1)


def test_a_file_of_authorities_is_believed(authority: trustme.CA, ca_file: str) -> None:
    """Without the system knowing of it."""
    outcome, requests = write_over_tls(authority, ca_file)
    assert (outcome.verdict, requests) == (Verdict.DELIVERED, 1)


@pytest.mark.parametrize("why", ["nobody vouches", "another authority", "another name"])
def test_a_certificate_that_is_not_right_halts(authority: trustme.CA, ca_file: str, why: str, tmp_path: Path) -> None:
    """Nothing is sent, and the flow halts: trying again would not make it trustworthy."""
    name = "127.0.0.1"
    if why == "nobody vouches":
        ca_file = ""
    elif why == "another authority":
        ca_file = str(tmp_path / "other.pem")
        trustme.CA().cert_pem.write_to_path(ca_file)
    else:
        name = "kinesis.example"
    outcome, requests = write_over_tls(authority, ca_file, name)
    assert (outcome.verdict, outcome.code, requests) == (Verdict.HALT, "certificate", 0)
    assert "is not trusted" in outcome.detail


def test_tls_is_1_2_or_later_and_always_verified(ca_file: str) -> None:
    """Whichever authorities: there is no way to turn it off."""
    for context in (routes.tls(), routes.tls(ca_file)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
    names = [p.name.lower() for way in KINESIS.spec.auth for p in way.parameters]
    assert not [n for n in names if "verify" in n or "insecure" in n]


def test_a_file_of_authorities_that_is_none_stops_before_anything_connects(tmp_path: Path) -> None:
    """A mistake of the configuration; when it goes missing later, the flow halts with its name."""
    missing, wrong = tmp_path / "missing.pem", tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    auth = {"accessKeyId": "A", "secretKey": "s", "region": "eu-west-1"}
    for file, told in ((missing, "cannot be read"), (wrong, "holds no certificate")):
        (mistake,) = KINESIS.mistakes({**auth, "caFile": str(file)}, {"stream": "s"})
        assert mistake.place == "auth.caFile"
        assert told in mistake.problem

    async def run() -> Outcome:
        writer = writer_to("https://127.0.0.1:9", ca_file=str(missing))
        (outcome,) = await writer.write(records(1))
        await writer.close()
        return outcome

    outcome = asyncio.run(run())
    assert (outcome.verdict, outcome.code) == (Verdict.HALT, "ca-file")
    assert str(missing) in outcome.detail
