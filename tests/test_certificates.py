"""A certificate that is renewed while its server runs."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from headrace.certificates import Certificate


def _write(folder: Path, authority: trustme.CA, name: str, *, chain: bool = True, key: bool = True) -> None:
    issued = authority.issue_cert(name)
    for wanted, blob, file in (
        (chain, issued.cert_chain_pems[0], "chain.pem"),
        (key, issued.private_key_pem, "key.pem"),
    ):
        if wanted:
            blob.write_to_path(str(folder / "new"))
            os.replace(folder / "new", folder / file)


def _name_served(context: ssl.SSLContext, authority: trustme.CA) -> str:
    """The name in the certificate that a client of *context* is shown."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.check_hostname = False
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(ours, theirs, server_side=False)
    server = context.wrap_bio(theirs, ours, server_side=True)
    for _ in range(4):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert()
    assert found is not None
    return str(found["subjectAltName"]).split("'")[3]


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs."""
    return trustme.CA()


def test_a_renewed_certificate_is_taken_once_it_is_whole(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections get the new certificate; while only one of the two files is new, the old pair stays."""
    _write(tmp_path, authority, "old.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain, key = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    context.load_cert_chain(chain, key)
    certificate = Certificate(context, chain, key)
    assert not certificate.renew()
    assert _name_served(context, authority) == "old.test"

    _write(tmp_path, authority, "half.test", key=False)
    assert not certificate.renew()
    assert _name_served(context, authority) == "old.test"
    (tmp_path / "key.pem").unlink()
    assert not certificate.renew()
    assert _name_served(context, authority) == "old.test"

    _write(tmp_path, authority, "new.test")
    assert certificate.renew()
    assert _name_served(context, authority) == "new.test"
    assert not certificate.renew()


def test_a_server_follows_its_files(authority: trustme.CA, tmp_path: Path) -> None:
    """The listener of the collection serves the renewed certificate at a tick of its loop."""
    import asyncio

    from headrace.sources.listener import Listener

    _write(tmp_path, authority, "127.0.0.1")
    chain, key = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")

    def shown(port: int) -> bytes:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""

    async def test() -> None:
        listener = Listener(lambda *_: None, "127.0.0.1", 0, chain, key)
        await listener.start()
        try:
            first = await asyncio.to_thread(shown, listener.port)
            server = listener._server
            assert server is not None
            await server.on_tick(1)
            _write(tmp_path, authority, "127.0.0.1")
            await server.on_tick(1)
            assert await asyncio.to_thread(shown, listener.port) == first
            await server.on_tick(100)
            assert await asyncio.to_thread(shown, listener.port) != first
        finally:
            await listener.stop()

    asyncio.run(test())
