"""``python -m headrace.testing``: a scripted Kinesis as a process; one line of JSON says where it listens."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import msgspec
import uvloop

from headrace.testing.kinesis import ScriptedKinesis
from headrace.testing.script import Script


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m headrace.testing", description="A scripted Kinesis Data Streams")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--stream", action="append", default=[], metavar="NAME[:SHARDS]", help="create a stream")
    parser.add_argument("--script", type=Path, help="JSON file: what goes wrong (headrace.testing.Script)")
    parser.add_argument("--record", type=Path, help="append every accepted record to this file")
    parser.add_argument("--no-keep", action="store_true", help="keep no records in memory (no GetRecords)")
    parser.add_argument("--fast", action="store_true", help="for benchmarks: count PutRecords, decode nothing")
    parser.add_argument("--tls-cert", type=Path, help="PEM certificate; with --tls-key turns TLS on")
    parser.add_argument("--tls-key", type=Path, help="PEM key of the certificate")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    tls = None
    if arguments.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    script = msgspec.json.decode(arguments.script.read_bytes(), type=Script) if arguments.script else Script()
    streams = {}
    for text in arguments.stream:
        name, _, shards = text.partition(":")
        streams[name] = int(shards or 1)
    server = ScriptedKinesis(
        streams=streams, script=script, record=arguments.record, keep=not arguments.no_keep, fast=arguments.fast
    )
    await server.start(port=arguments.port, tls=tls)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if arguments.until_eof:
        stdin = sys.stdin.fileno()
        loop.add_reader(stdin, lambda: None if os.read(stdin, 1024) else ended.set())
    line = msgspec.json.encode({"port": server.port, "url": server.url, "pid": os.getpid()})
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()
    await ended.wait()
    await server.stop()


def main() -> None:
    """Serve until a signal."""
    uvloop.run(_serve(_arguments()))


if __name__ == "__main__":
    main()
