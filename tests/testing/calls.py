"""Calls to a scripted Kinesis without a wire, for tests."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.clock import Manual
from headrace.testing.caller import Signed
from headrace.testing.kinesis import ACCOUNT
from headrace.testing.recording import Recorder
from headrace.testing.script import Script
from headrace.testing.service import JSON, Reply, Service


def service(
    *, script: Script | None = None, clock: Manual | None = None, shards: int = 1, recorder: Recorder | None = None
) -> Service:
    """A service with one stream, ``s``."""
    made = Service(
        script=Script(),
        clock=clock or Manual(),
        account=ACCOUNT,
        region="eu-west-1",
        recorder=recorder,
        keep=True,
    )
    made.create("s", shards)
    made.follow(script or Script())
    return made


def call(
    target: Service, action: str, body: Any, *, media: str = JSON, headers: dict[str, str] | None = None
) -> Reply:
    """Make one call with a body of plain values, or of bytes as they are."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return target.respond(f"Kinesis_20131202.{action}", media, Signed("POST", "/", headers or {}, raw))


def put(target: Service, keys: Sequence[str], *, stream: str = "s", **fields: Any) -> Reply:
    """Put one record per key, its data the key again."""
    records = [{"Data": base64.b64encode(key.encode()).decode(), "PartitionKey": key} for key in keys]
    return call(target, "PutRecords", {"StreamName": stream, "Records": records, **fields})


def said(reply: Reply) -> dict[str, Any]:
    """The body of a JSON reply."""
    body: dict[str, Any] = msgspec.json.decode(reply.body)
    return body


def error(reply: Reply) -> tuple[int, str]:
    """Status and error code of a reply."""
    return reply.status, said(reply)["__type"]
