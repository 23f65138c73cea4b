"""The input of the end-to-end tests: seeded updates about people with several devices, and the flows they meet.

Each person has two devices and an address, three profiles until updates join them; a few people join with their
neighbour. Almost every update writes something new, so that no two messages say the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.testing import FlowPlan, Verdict, canonical, content, fold, judge, read_records

SECRET: Final = "PLANTED-secret-7f3a"
SEGMENTS: Final = ("aud-1", "aud-2", "aud-3")
STREAMS: Final = {"first": "stream-1", "second": "stream-2"}
"""Flow to its stream."""
PLANS: Final = {
    "first": FlowPlan([("ups", "aud-1"), ("ups", "aud-2")], ["web.n", "person.name", "tags"]),
    "second": FlowPlan(
        [("ups", "aud-2"), ("ups", "aud-3")], ["web.n"], scope="mapped", triggers=("segment", "identity")
    ),
}
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NAMES: Final = ("Ada", "Bo", "Chloé", "Elif", "Søren", "\u4e2d\u6587", 'O"Neil')


def updates(seed: int, count: int, people: int) -> Iterator[bytes]:
    """So many updates about so many people, as JSON without line ends."""
    rng = random.Random(seed)
    encode = msgspec.json.Encoder().encode
    for order in range(count):
        person = int(people * rng.random())
        update: dict[str, Any] = {"identityMap": _identities(rng, person)}
        kind = rng.random()
        if kind < 0.85:
            update["web"] = {"n": order}
        if kind < 0.25:
            update["person"] = {"name": {"first": rng.choice(_NAMES), "last": None if kind < 0.02 else f"L{order}"}}
        elif kind < 0.3:
            update["tags"] = [order, {"page": f"/p/{order % 97}"}] if kind < 0.28 else None
        elif kind > 0.9:
            update["unmapped"] = {"n": order}
        if rng.random() < 0.3:
            update["segmentMembership"] = {"ups": {rng.choice(SEGMENTS): _membership(rng, order)}}
        yield encode(update)


def _identities(rng: random.Random, person: int) -> dict[str, list[dict[str, Any]]]:
    chosen = rng.random()
    device, other, address = f"{person}-a", f"{person}-b", f"{person}@example.com"
    if chosen < 0.4:
        return {"ECID": [{"id": device, "primary": True}]}
    if chosen < 0.6:
        return {"ECID": [{"id": other}]}
    if chosen < 0.9:
        return {"Email": [{"id": address}]}
    if chosen < 0.95:
        return {"ECID": [{"id": device, "primary": True}], "Email": [{"id": address}]}
    if chosen < 0.995:
        return {"ECID": [{"id": other, "primary": True}], "Email": [{"id": address}]}
    return {"Email": [{"id": address, "primary": True}, {"id": f"{person ^ 1}@example.com"}]}


def _membership(rng: random.Random, order: int) -> dict[str, str]:
    late = 5000 if rng.random() < 0.03 else 0  # older than what is stored: ignored
    since = _START + timedelta(seconds=order - late)
    status = "exited" if rng.random() < 0.35 else "realized"
    return {"lastQualificationTime": f"{since:%Y-%m-%dT%H:%M:%SZ}", "status": status}


def write_updates(path: Path, seed: int, count: int, people: int) -> list[bytes]:
    """Write them to a file, a line each, and give them back."""
    lines = list(updates(seed, count, people))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return lines


def judged(lines: Iterable[bytes], recording: Path) -> Verdict:
    """What the streams of ``STREAMS`` received, against what the flows of ``PLANS`` should tell of the updates."""
    folded = fold(lines, PLANS, identify=canonical)
    assert not folded.refused
    return judge(
        {STREAMS[flow]: folded.expected(flow) for flow in PLANS}, read_records(recording), identify=content,
        joins={STREAMS[flow]: folded.joins[flow] for flow in PLANS},
    )  # fmt: skip


def configuration(
    url: str, *, in_flight: int = 8, records: int = 250, flows: tuple[str, ...] = ("first", "second")
) -> dict[str, Any]:
    """The configuration of the flows of ``PLANS``, at a Kinesis that answers at *url*."""
    spec = {"id": "86043421-563b-46ec-8e6c-e23184711bf6", "version": "1.0"}
    auth = {"accessKeyId": "AKIATEST", "secretKey": SECRET, "region": "eu-west-1", "endpointUrl": url}
    limits = {"maxInFlight": in_flight, "maxRequestRecords": records}
    return {
        "connections": [
            {
                "id": "account", "name": "Account", "connectionSpec": spec,
                "auth": {"specName": "Aws Kinesis authentication credentials", "params": auth},
            }
        ],
        "targetConnections": [
            {
                "id": f"to-{flow}", "name": STREAMS[flow], "baseConnectionId": "account", "connectionSpec": spec,
                "params": {"stream": STREAMS[flow], **limits},
            }
            for flow in flows
        ],
        "flows": [_flow(flow, PLANS[flow]) for flow in flows],
    }  # fmt: skip


def _flow(flow: str, plan: FlowPlan) -> dict[str, Any]:
    return {
        "id": flow,
        "name": f"The {flow} flow",
        "flowSpec": {"id": "71471eba-b620-49e4-90fd-23f1fa0174d8", "version": "1.0"},
        "targetConnectionIds": [f"to-{flow}"],
        "transformations": [
            {
                "name": "GeneralTransform",
                "params": {
                    "segmentSelectors": {
                        "selectors": [
                            {"type": "PLATFORM_SEGMENT", "value": {"id": segment, "namespace": namespace}}
                            for namespace, segment in plan.segments
                        ]
                    },
                    "profileSelectors": {
                        "selectors": [{"type": "JSON_PATH", "value": {"path": path}} for path in plan.paths]
                    },
                    "headrace": {
                        "metadata": True,
                        "membershipScope": plan.scope,
                        "triggers": {name: name in plan.triggers for name in ("segment", "identity", "attribute")},
                    },
                },
            }
        ],
    }


def write_configuration(path: Path, url: str, **settings: Any) -> Path:
    """Write the configuration file."""
    path.write_bytes(msgspec.json.encode(configuration(url, **settings)))
    return path
