"""An installation that has been at work for a month: three destinations, their runs, and what the engine says."""

from __future__ import annotations

import base64
import itertools
from typing import Any, Final

import msgspec

from headrace.clock import Manual
from headrace.control import (
    base_connections,
    flows,
    profile_schemas,
    runs,
    segments,
    source_connections,
    target_connections,
)
from headrace.control.access import ROLES, Permission
from headrace.control.accounts import create_role, create_user
from headrace.control.organisations import FirstStart, system_caller
from headrace.control.runs import Count, Figures
from headrace.control.service import Control
from headrace.control.store import Store
from tests.control import plane

from . import sample_people
from .small_engine import SmallEngine

NOW_MS: Final = 1_796_000_000_000
HOUR_MS: Final = 3_600_000
PASSWORD: Final = "a long enough password"
AUDIENCES: Final = (
    ("crm-high-propensity", "High propensity to convert", "Likely to buy within two weeks"),
    ("crm-loyal", "Loyal customers", "Three orders or more within a year"),
    ("crm-lapsed", "Lapsed", "No visit for 90 days"),
    ("crm-whitepaper", "Downloaded the white paper", "Asked for the guide in the last month"),
)
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "person": {
            "properties": {
                "name": {"properties": {"firstName": {"type": "string"}, "lastName": {"type": "string"}}},
                "birthYear": {"type": "integer"},
            }
        },
        "personalEmail": {"properties": {"address": {"type": "string"}}},
        "mobilePhone": {"properties": {"number": {"type": "string"}}},
        "homeAddress": {"properties": {"city": {"type": "string"}, "countryCode": {"type": "string"}}},
        "loyalty": {
            "properties": {
                "tier": {"type": "string"},
                "points": {"type": "integer"},
                "joined": {"type": "string"},
                "program": {"type": "string"},
            }
        },
    },
}
NAMES: Final = ("Leads for the sales team", "Loyalty offers", "Warehouse mirror")
PATHS: Final = ("person.name.firstName", "person.name.lastName", "personalEmail.address", "loyalty.tier")


class Sample(msgspec.Struct):
    """What a test needs to know of the installation."""

    control: Control
    first: FirstStart
    engine: SmallEngine
    flows: list[str]
    accounts: list[str]
    targets: list[str]


def empty(store: Store | None = None) -> Sample:
    """An installation after its first start."""
    control, first = plane.started(store, clock=Manual(NOW_MS))
    return Sample(control, first, SmallEngine({"status": {"totals": {"flows": {}}, "flows": []}}), [], [], [])


def again(made: Sample, store: Store) -> Sample:
    """The same installation on a copy of its database, with an engine of its own."""
    numbers = itertools.count(100_000)
    control = plane.plane(store, clock=Manual(NOW_MS), new_id=lambda: f"00000000-0000-4000-8000-{next(numbers):012}")
    engine = SmallEngine(answers(made.flows))
    engine.settles = list(made.engine.settles)
    return msgspec.structs.replace(made, control=control, engine=engine)


def filled(store: Store | None = None) -> Sample:
    """An installation at work."""
    made = empty(store)
    control, caller = made.control, system_caller(made.control)
    for login, role in (("viewer", "viewer"), ("connector", "connector"), ("activator", "activator")):
        create_user(control, caller, {"name": login, "roles": [role], "password": PASSWORD})
    create_role(control, caller, {"name": "watcher", "permissions": [p.value for p in ROLES["activator"]]})
    platform = base_connections.create_connection(control, caller, plane.platform_body()).id
    source = source_connections.create_source_connection(control, caller, plane.source_body(platform)).id
    profile_schemas.put_schema(control, caller, SCHEMA)
    for audience_id, name, description in AUDIENCES:
        body = {"name": name, "description": description, "audienceId": audience_id, "namespace": "crm"}
        segments.create_audience(control, caller, {**body, "type": "ExternalAudience"})
    for name in ("Marketing, Ireland", "Analytics, Frankfurt"):
        body = plane.connection_body() | {"name": name}
        made.accounts.append(base_connections.create_connection(control, caller, body).id)
    for index, (name, stream) in enumerate(zip(NAMES, ("leads", "loyalty", "profiles-mirror"), strict=True)):
        target = plane.target_body(made.accounts[index % 2], stream=stream)
        target_id = target_connections.create_target_connection(control, caller, target).id
        mapped = [each[0] for each in AUDIENCES[index : index + 2]]
        body = plane.flow_body(source, target_id, *mapped, paths=PATHS) | {"name": name}
        body["description"] = "Profiles of chosen audiences, in real time"
        made.targets.append(target_id)
        made.flows.append(flows.create_flow(control, caller, body).id)
        _run_for_a_month(control, made.flows[-1], index)
    made.engine.answers |= answers(made.flows)
    made.engine.settles = [settled(made.flows[0], number) for number in range(12)]
    return made


def _run_for_a_month(control: Control, flow_id: str, index: int) -> None:
    scope = plane.SCOPE
    ages = (*range(24), *range(24, 24 * 7, 6), *range(24 * 7, 24 * 30, 24))
    for age in ages:
        start_ms = NOW_MS - NOW_MS % HOUR_MS - age * HOUR_MS
        of_day = (start_ms // HOUR_MS) % 24
        busy = 1 + 3 * max(0, 8 - abs(of_day - 14)) // 2
        received = 420 * busy * (3 - index)
        failed = 3 if age in (5, 6) and index == 0 else 0
        skipped = received // 5
        figures = Figures(
            received=received, skipped=skipped, failed=failed, delivered=received - skipped - failed,
            input_bytes=received * 700, output_bytes=(received - skipped - failed) * 540,
            least_ms=9, greatest_ms=180 + busy * 10, average_ms=31 + busy, completed=age > 0,
            failures=(Count(code="record-too-large", message="The record is larger than the stream takes.", count=3),)
            if failed
            else (),
            skips=(Count(code="not-a-member", message="In none of the mapped audiences.", count=skipped),),
        )  # fmt: skip
        runs.record_run(control, scope, flow_id, start_ms, figures)


def settled(flow_id: str, number: int) -> dict[str, Any]:
    """One settled export, as ``follow`` sends it."""
    names = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald")
    message = {
        "person": {"name": {"firstName": names[number % 6], "lastName": "Example"}},
        "personalEmail": {"address": f"person{number}@example.com"},
        "segmentMembership": {
            "crm": {"crm-loyal": {"lastQualificationTime": "2026-11-30T10:00:00Z", "status": "realized"}}
        },
        "identityMap": {"email": [{"id": f"person{number}@example.com"}]},
    }
    causes = (
        ["live", ["segment"], [], ["crm/crm-high-propensity"], [], []],
        ["live", ["attribute"], ["person.name.lastName"], [], [], []],
        ["live", ["segment"], [], [], ["crm/crm-loyal"], []],
    )
    refused = number == 7
    return {
        "flow": flow_id, "profile": f"{number:032x}", "export": f"{number + 4096:032x}", "seq": number, "version": 3,
        "epoch": 1, "cause": causes[number % 3], "message": msgspec.json.encode(message).decode(),
        "outcome": "rejected" if refused else "delivered", "code": "record-too-large" if refused else "",
        "detail": "", "shard": f"shardId-00000000000{number % 4}", "sequence": f"49590338271490{number}",
        "attempts": 1, "made_ms": NOW_MS - 40, "settled_ms": NOW_MS + number * 137, "latency_ms": 24 + number,
    }  # fmt: skip


def answers(flow_ids: list[str]) -> dict[str, Any]:
    """What the engine says of the installation."""
    first = flow_ids[0]
    totals = {
        flow_id: {
            "accepted": 84_210 - 9_000 * index, "exported": 61_502 - 8_000 * index,
            "delivered": 61_480 - 8_000 * index, "dead_lettered": 3 if index == 0 else 0,
            "held": {"not-a-member": 20_100, "no-relevant-change": 2_608}, "discarded": {},
            "pending": 19 if index == 0 else 22, "possible_duplicates": 0, "retried": 41, "bytes": 33_000_000,
        }
        for index, flow_id in enumerate(flow_ids)
    }  # fmt: skip
    letters = [_letter(first, number) for number in range(3)]
    return {
        "status": {
            "totals": {"profiles": 48_211, "flows": totals, "dead_letters": 4},
            "flows": [
                {"flow_id": each, "name": "", "pending": totals[each]["pending"], "halted": "", "paused": False}
                for each in flow_ids
            ],
            "configuration": "c0ffee",
            "p50_ms": 28.0,
            "p99_ms": 96.0,
            "stages": [
                {"flow": flow, "stage": stage, "p50_ms": half, "p99_ms": most}
                for flow, stage, half, most in (
                    ("", "accepted", 2.5, 10.0), ("", "decided", 1.0, 5.0), ("", "committed", 2.5, 10.0),
                    (first, "sent", 10.0, 25.0), (first, "acknowledged", 10.0, 50.0),
                )
            ],
            "shards": [
                {"flow": first, "shard": f"shardId-00000000000{number}", "delivered": 15_000 - 900 * number}
                for number in range(4)
            ],
        },
        "alerts": lambda **given: [each for each in alerts(first) if given["state"] == "all" or not each["until_ms"]],
        "alert-channels": [
            {"name": "log"},
            {"name": "webhook", "signed": True},
            {
                "name": "e-mail", "server": "mail.example.com:587", "from": "headrace@example.com",
                "to": ["duty@example.com", "data-team@example.com"],
            },
        ],
        "audience-sizes": lambda any_of: {
            "profiles": 48_211, "of": 4_000, "any": 812 if any_of else 0,
            "members": {"crm/crm-high-propensity": 812, "crm/crm-loyal": 1730, "crm/crm-lapsed": 96},
        },
        "configure": {},
        "flows": lambda flow="": [standing(each) for each in flow_ids if flow in ("", each)],
        "observed-schema": observed(),
        "dead-letters": lambda **given: [
            each for each in (*letters, _refused_update()) if given.get("flow") in (None, "", each.get("flow"))
        ],
        "dead-letter": lambda id: next((each for each in (*letters, _refused_update()) if each["id"] == id), None),
        "dead-letter-replay": _replay,
        "backfill-mapped": {"runs": ["b-2"], "automatic": True},
        "backfill-start": lambda **_: {"run": "b-2"},
        "backfill-status": lambda **_: [_backfill(first)],
        "backfill-pause": {},
        "backfill-resume": {},
        "backfill-cancel": {},
        "send-test": {
            "outcome": "delivered", "shard": "shardId-000000000001", "sequence": "49590338271490",
            "size_bytes": 442, "took_ms": 21, "message": {"person": {"name": {"firstName": "test"}}},
        },
        "profile": _profile,
        "profile-delete": lambda **_: _deletion("settling", flow_ids),
        "profile-deletions": lambda run="d1": [_deletion("done", flow_ids)] if run == "d1" else [],
        "ledger": lambda **_: [_entry(first, number) for number in range(4)],
        "explain": lambda **_: _explanation(flow_ids),
        "profiles-seen": sample_people.seen(NOW_MS),
        "profile-inputs": sample_people.inputs(NAMES, NOW_MS),
    }  # fmt: skip


def standing(flow_id: str, **fields: Any) -> dict[str, Any]:
    """How a flow stands in the engine: as it should."""
    plain = {"flow": flow_id, "paused": False, "halted": "", "pending": 0, "pause": None, "skipped": 0}
    return {**plain, "catch_up": False, **fields}


def alerts(flow_id: str) -> list[dict[str, Any]]:
    """One that is open, and one that is over."""
    return [
        {
            "id": "2", "kind": "dead-letters", "flow": flow_id, "severity": "warning",
            "title": "Leads for the sales team: exports became dead letters", "detail": "3 within ten minutes",
            "what_to_do": "Look at them. They are kept and can be replayed.", "since_ms": NOW_MS - 5 * HOUR_MS,
            "until_ms": None, "key": "",
        },
        {
            "id": "1", "kind": "breaker-open", "flow": flow_id, "severity": "critical",
            "title": "Leads for the sales team: the destination does not answer", "detail": "no answer for 14 s",
            "what_to_do": "Look at the network between here and the destination.", "since_ms": NOW_MS - 30 * HOUR_MS,
            "until_ms": NOW_MS - 29 * HOUR_MS, "key": "",
        },
    ]  # fmt: skip


def observed() -> list[dict[str, Any]]:
    """Paths seen in profiles."""
    seen = (
        ("person.name.firstName", "string", "A•••"),
        ("person.name.lastName", "string", "L•••"),
        ("person.birthYear", "integer", "•••"),
        ("personalEmail.address", "string", "a•••"),
        ("mobilePhone.number", "string", "+•••"),
        ("homeAddress.city", "string", "D•••"),
        ("homeAddress.countryCode", "string", "I•••"),
        ("loyalty.tier", "string", "g•••"),
        ("loyalty.points", "integer", "•••"),
        ("loyalty.joined", "string", "2•••"),
        ("consents.marketing.email.val", "string", "y"),
    )
    return [
        {"path": path, "type": kind, "count": 2_000 - 130 * index, "of": 2_000, "sample": sample}
        for index, (path, kind, sample) in enumerate(seen)
    ]


def _letter(flow_id: str, number: int) -> dict[str, Any]:
    one = settled(flow_id, number)
    export = [
        number + 1, one["profile"], one["export"], one["seq"], 3, 1, one["profile"],
        base64.b64encode(one["message"].encode()).decode(), one["cause"], NOW_MS - 5 * HOUR_MS, "c0ffee",
    ]  # fmt: skip
    return {
        "id": f"{NOW_MS - 5 * HOUR_MS + number}-{number}", "kind": "export", "at_ms": NOW_MS - 5 * HOUR_MS + number,
        "reason": "record-too-large", "detail": "1,204,112 bytes are over the stream's limit of 1,048,576",
        "flow": flow_id, "export": export, "attempts": 1,
    }  # fmt: skip


def _replay(**given: Any) -> dict[str, Any]:
    updates = given["filter"].get("kind") == "update"
    return {
        "updates": int(updates), "exports": 0 if updates else 2, "left": {} if updates else {"consent": 1},
        "dry_run": given["dry_run"],
    }  # fmt: skip


def _refused_update() -> dict[str, Any]:
    return {
        "id": f"{NOW_MS - 9 * HOUR_MS}-0", "kind": "update", "at_ms": NOW_MS - 9 * HOUR_MS, "reason": "no-identity",
        "detail": "the update has no identityMap with at least one identity",
        "place": "POST /collection/web, record 4", "source": "http",
        "body": base64.b64encode(b'{"person": {"name": {"lastName": "Nobody"}}}').decode(),
    }  # fmt: skip


def _backfill(flow_id: str) -> dict[str, Any]:
    return {
        "run": "b-1", "flow": flow_id, "kind": "backfill", "state": "running", "scanned": 31_400,
        "total_estimate": 48_211, "exported": 9_120, "waits": "",
        "excluded": {"not-a-member": 22_280}, "automatic": True, "segments": [], "ended_ms": None,
        "started_ms": NOW_MS - 40_000,
        "updated_ms": NOW_MS, "eta_s": 22,
    }  # fmt: skip


def _profile(namespace: str = "email", id: str = "", profile_id: str = "") -> dict[str, Any] | None:
    if profile_id == f"{77:032x}":
        id = "ada@example.com"
    if id != "ada@example.com" or namespace.lower() != "email":
        return None
    member = {"lastQualificationTime": "2026-11-30T10:00:00Z", "status": "realized"}
    return {
        "profileId": f"{77:032x}", "epoch": 12, "version": 9,
        "identities": [
            {"namespace": "ecid", "id": "14575006536349286404619648085736425115"},
            {"namespace": namespace, "id": id},
        ],
        "attributes": {
            "person": {"name": {"firstName": "Ada", "lastName": "Example"}, "birthYear": 1985},
            "personalEmail": {"address": id},
            "loyalty": {"tier": "gold", "points": 4120},
        },
        "memberships": {"crm": {"crm-loyal": member, "crm-lapsed": {**member, "status": "exited"}}},
        "flows": {},
    }  # fmt: skip


def _deletion(state: str, flow_ids: list[str]) -> dict[str, Any]:
    over = state == "done"
    return {
        "run": "d1", "state": state, "exports": {flow_ids[0]: f"{4097:032x}"},
        "erased": {"inputs": 9, "ledger": 14} if over else {}, "waits_for": [] if over else [flow_ids[0]],
        "asked_ms": NOW_MS - 4000, "done_ms": NOW_MS - 1000 if over else None,
    }  # fmt: skip


def _entry(flow_id: str, number: int) -> dict[str, Any]:
    one = settled(flow_id, number)
    return {
        "row": number, "flow": flow_id, "export_id": one["export"], "profile_id": one["profile"], "ordinal": number,
        "seq": number, "version": 9 - number, "epoch": 12, "configuration": "c0ffee", "cause": one["cause"],
        "made_ms": NOW_MS - number * HOUR_MS, "settled_ms": NOW_MS - number * HOUR_MS + 30, "outcome": "delivered",
        "shard": one["shard"], "sequence": one["sequence"], "code": "", "attempts": 1,
    }  # fmt: skip


def _explanation(flow_ids: list[str]) -> dict[str, Any]:
    common = {
        "configuration": "c0ffee", "audiences": {"crm/crm-loyal": "Loyal customers"}, "attributes": list(PATHS),
        "settings": {}, "consent": None, "reason": "", "meaning": "", "cause": None, "export_id": "", "seq": None,
        "message": None, "partition_key": None, "state": "", "shard": "", "sequence": "", "attempts": None,
        "made": "", "settled": "", "code": "", "detail": "", "letter": "",
    }  # fmt: skip
    one = settled(flow_ids[0], 0)
    sent = common | {
        "id": flow_ids[0], "name": "Leads for the sales team", "exported": True, "cause": one["cause"],
        "export_id": one["export"], "seq": 4, "message": one["message"], "state": "delivered", "shard": one["shard"],
        "sequence": one["sequence"], "attempts": 1, "made": "2026-11-30T10:00:00.000Z",
        "settled": "2026-11-30T10:00:00.031Z",
    }  # fmt: skip
    held = common | {
        "id": flow_ids[1], "name": "Loyalty offers", "exported": False, "reason": "no-relevant-change",
        "meaning": "No mapped audience, identity or mapped attribute was touched.",
    }  # fmt: skip
    return {
        "input": {
            "ordinal": 80_112, "time": "2026-11-30T10:00:00.000Z", "kind": "update", "source": "http",
            "content": "{}", "attributes": ["person"], "memberships": ["crm/crm-high-propensity"],
        },
        "profile": {
            "id": f"{77:032x}", "made": False, "version_before": 8, "version_after": 9, "joined": [],
            "identities_added": [], "deleted": False,
            "memberships": [{
                "audience": "crm/crm-high-propensity", "before": "none", "after": "realized",
                "since": "2026-11-30T10:00:00.000Z", "valid_until": None,
            }],
        },
        "flows": [sent, held],
        "unknown": [],
    }  # fmt: skip


ALL: Final = tuple(Permission)
