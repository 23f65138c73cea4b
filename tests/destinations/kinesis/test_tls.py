"""TLS is spoken, and a certificate that nobody vouches for stops the flow."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.kinesis import transport
from tests.destinations.contract import records
from tests.destinations.kinesis.raw_server import RawServer, accepted
from tests.destinations.kinesis.test_writer import writer_to


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(*form) + made.public_bytes(serialization.Encoding.PEM))
    return file


def write_over_tls(certificate: Path) -> tuple[Outcome, int]:
    """Write one record to a server with this certificate; the outcome, and the requests it got."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def run() -> tuple[Outcome, int]:
        async with RawServer(lambda _: accepted(1), context) as server:
            writer = writer_to(server.url)
            (outcome,) = await writer.write(records(1, size_bytes=2_000_000))
            await writer.close()
            return outcome, len(server.got)

    return asyncio.run(run())


def test_a_trusted_certificate(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the authority in the system's store a request of two megabytes is written."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    transport._tls.cache_clear()
    try:
        outcome, requests = write_over_tls(certificate)
    finally:
        transport._tls.cache_clear()
    assert (outcome.verdict, requests) == (Verdict.DELIVERED, 1)


def test_a_certificate_nobody_vouches_for(certificate: Path) -> None:
    """Nothing is sent, and the flow halts: trying again would not make it trustworthy."""
    outcome, requests = write_over_tls(certificate)
    assert (outcome.verdict, outcome.code, requests) == (Verdict.HALT, "certificate", 0)
    assert "is not trusted" in outcome.detail
