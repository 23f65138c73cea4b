"""A scripted Kinesis as a child process: it outlives whatever is killed around it but its starter.

with Child(streams={"profiles": 4}, record=path) as kinesis:
    ...                          # point any process at kinesis.url
    kinesis.follow(Script(...))  # other faults from here on
judge(expected, read_records(path))
"""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from headrace.errors import BugError, RefusedError
from headrace.testing.puts import Counts
from headrace.testing.script import Change, Script


class Certificate(NamedTuple):
    """Paths of a PEM certificate, which is its own authority, and its key."""

    cert: Path
    key: Path


class ControlError(RefusedError):
    """The child refused a control call."""

    code = "scripted-control"

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem, problem=problem)


def make_certificate(folder: Path) -> Certificate:
    """Make a self-signed certificate for 127.0.0.1 and localhost, with the ``openssl`` command.

    Args:
        folder: Where cert.pem and key.pem are written.
    """
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(  # noqa: S603 - a fixed command
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",  # noqa: S607
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", str(made.key), "-out", str(made.cert)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return made


class Child:
    """The process. Ends with its ``with`` block, and with the process that started it.

    Args:
        streams: Name to number of shards.
        script: What goes wrong.
        record: File that every accepted record is appended to.
        fast: For benchmarks: PutRecords is counted and nothing is decoded.
        keep: Keep records in memory, for GetRecords.
        certificate: Turns TLS on.

    Attributes:
        url: Where it listens.
        port: Its port.
        pid: Its process id.
    """

    def __init__(
        self,
        *,
        streams: Mapping[str, int],
        script: Script | None = None,
        record: Path | None = None,
        fast: bool = False,
        keep: bool = True,
        certificate: Certificate | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "headrace.testing", "--until-eof"]
        self._command += [part for name, shards in streams.items() for part in ("--stream", f"{name}:{shards}")]
        self._command += ["--record", str(record)] if record else []
        self._command += ["--fast"] if fast else []
        self._command += [] if keep else ["--no-keep"]
        if certificate:
            self._command += ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]
        self._certificate = certificate
        self._script = script
        self._running: subprocess.Popen[bytes] | None = None
        self.url, self.port, self.pid = "", 0, 0

    def start(self) -> Self:
        """Start it and wait until it listens."""
        command = list(self._command)
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            if self._script is not None:
                file.write(msgspec.json.encode(self._script))
                file.flush()
                command += ["--script", file.name]
            running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own
            self._running = running
            assert running.stdout is not None
            line = running.stdout.readline()
        if not line:
            self.stop()
            raise BugError(problem=f"the scripted Kinesis did not start (exit status {running.returncode})")
        said = msgspec.json.decode(line)
        self.url, self.port, self.pid = said["url"], said["port"], said["pid"]
        return self

    def stop(self) -> None:
        """End it. May be called twice."""
        running, self._running = self._running, None
        if running is None:
            return
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.close()
        try:
            running.wait(timeout=10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        running.stdout.close()

    def __enter__(self) -> Self:
        return self if self._running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, what: str, body: bytes = b"") -> bytes:
        if self._certificate:
            trust = ssl.create_default_context(cafile=str(self._certificate.cert))
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=30, context=trust
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", f"/_control/{what}", body)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ControlError(problem=f"{what}: {response.status} {answer.decode(errors='replace')}")
        return answer

    def follow(self, script: Script) -> None:
        """Follow another script from now on. Raises ``ControlError`` when it is refused."""
        self._call("script", msgspec.json.encode(script))

    def change(self, change: Change) -> None:
        """Change the streams. Raises ``ControlError`` when that cannot be done."""
        self._call("change", msgspec.json.encode(change))

    def advance(self, seconds: float) -> None:
        """Move its clock ahead."""
        self._call("clock", msgspec.json.encode({"advance_s": seconds}))

    def counts(self) -> Counts:
        """Return what it has seen so far."""
        return msgspec.json.decode(self._call("counts"), type=Counts)
