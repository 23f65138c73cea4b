"""``make bench NAME=console``: how long each page takes with 100 flows, a month of runs and a million profiles.

A real ``headrace serve`` of two processes on a real data folder. The profiles are written into it as the engine would
have stored them, and the runs into the control plane's database as it would have recorded them; then the pages are
asked for one after the other, over HTTP, by somebody who is signed in.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import os
import random
import re
import shlex
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.latency.__main__ import configuration
from bench.live.__main__ import Serving
from bench.machine import machine
from headrace import bootstrap, settings
from headrace.control.resources import Kind, Resource, Scope
from headrace.control.run_figures import HOUR_MS
from headrace.control.runs import Count, Figures, hours_of, metrics, run_id
from headrace.control.store import Query
from headrace.control.tables import TablesStore
from headrace.core.envelope import Envelope, encode
from headrace.core.model import FORMAT, Membership
from headrace.state import records
from headrace.state.keys import Keys
from headrace.testing import Child

RESULTS = Path(__file__).parent.parent / "results" / "console.md"
GOAL_MS = 100
AUDIENCES = 40
AT_ONCE = 20_000
KNOWN = 4711
UPDATES = 2000
SINCE = "2026-01-01T00:00:00.000Z"
HEAD = f"""# The console: time of each page

`make bench NAME=console`: one `headrace serve` (engine and control process) on a data folder with a million profiles
of seven attributes and up to three audiences, with 100 flows, 40 audiences and the hourly runs of 30 days in SQLite.
Pages are asked for over HTTP, one after the other, each several times; the time is that from request to whole answer.
The aim is a median under {GOAL_MS} ms for every page.
"""


def audience(number: int) -> str:
    return f"0b4d1f0e-1111-4c1e-9b7e-{number:012x}"


def configured(url: str, flows: int) -> dict[str, Any]:
    """The configuration of bench/latency, with more flows, each of one audience."""
    made = configuration(url)
    (first,) = made["flows"]
    made["flows"] = []
    for number in range(flows):
        flow = copy.deepcopy(first) | {"id": f"f{number}", "name": f"Flow {number}"}
        selector = {"type": "PLATFORM_SEGMENT", "value": {"id": audience(number % AUDIENCES)}}
        flow["transformations"][0]["params"]["segmentSelectors"] = {"selectors": [selector]}
        made["flows"].append(flow)
    made["segments"] = [{"id": audience(n), "name": f"Audience {n}"} for n in range(AUDIENCES)]
    return made


def person(number: int) -> str:
    return f"person{number}@example.test"


def fill_profiles(data: Path, count: int) -> None:
    """Store profiles as the engine does."""
    loaded = settings.load(environ={}, data_dir=data)
    keys, chance = Keys(loaded.sandbox), random.Random(1)
    with bootstrap.open_state(loaded) as state:
        for start in range(0, count, AT_ONCE):
            batch = state.batch()
            for number in range(start, min(count, start + AT_ONCE)):
                profile_id = hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
                members = {
                    audience(n): Membership(True, SINCE)
                    for n in sorted({int(AUDIENCES * chance.random() ** 2) for _ in range(3)})
                }
                attributes = {
                    "person": {"name": {"firstName": "Ada", "lastName": f"Roe{number}"}},
                    "personalEmail": {"address": person(number)},
                    "loyalty": {"tier": "gold", "points": number % 1000},
                    "homeAddress": {"city": "Paris", "postalCode": f"75{number % 1000:03}"},
                }
                envelope = Envelope(
                    FORMAT, profile_id, 1, 1, {"email": [person(number)]}, attributes, dict.fromkeys(attributes, 1),
                    {"ups": members}, {}, 1,
                )  # fmt: skip
                batch.put(keys.profile(profile_id), encode(envelope))
                batch.put(keys.identity("email", person(number)), records.encode(records.IndexRow(profile_id, 1)))
            state.commit(batch)
        batch = state.batch()
        stored = state.get_many([keys.totals])[0]
        totals = records.decode_totals(stored) if stored else records.Totals()
        totals.profiles = count
        batch.put(keys.totals, records.encode(totals))
        state.commit(batch)
        state.sync()


def fill_runs(data: Path, flows: int, hours: int) -> int:
    """Record runs of every flow, an hour each; how many."""
    store = TablesStore(f"sqlite:///{data}/control.db")
    now_ms = int(time.time() * 1000)
    with store.read() as transaction:
        organisations = transaction.find(Query(kind=Kind.ORGANISATION, scope=Scope("")))
        scope = Scope(organisations[0].id, "prod")
    made = 0
    for number in range(flows):
        body = {"flowSpec": {"id": "", "version": "1.0"}, "sourceConnectionIds": ["s"], "targetConnectionIds": ["t"]}
        flow = Resource(kind=Kind.FLOW, id=f"f{number}", scope=scope, body=body)
        with store.write() as transaction:
            for age in range(1, hours + 1):
                start_ms = now_ms - now_ms % HOUR_MS - age * HOUR_MS
                made += transaction.insert(_run(scope, flow, start_ms, age))
    store.close()
    return made


def _run(scope: Scope, flow: Resource, start_ms: int, age: int) -> Resource:
    skips = tuple(Count(code=f"reason-{n}", message=f"For reason {n}.", count=age + n) for n in range(3))
    figures = Figures(
        received=1000 + age, delivered=900, failed=age % 5, skipped=100 + age, output_bytes=500_000, least_ms=9,
        average_ms=30, greatest_ms=200, skips=skips, segments={audience(1): 900}, completed=True,
        failures=(Count(code="too-large", message="Too large.", count=age % 5),) if age % 5 else (),
    )  # fmt: skip
    end_ms = start_ms + HOUR_MS
    document = {
        "flowId": flow.id, "flowSpec": flow.body["flowSpec"], "metrics": metrics(flow, figures, start_ms, end_ms),
        "activities": [],
    }  # fmt: skip
    return Resource(
        kind=Kind.RUN, id=run_id(scope, flow.id, start_ms), scope=scope, state="success", created_ms=start_ms,
        updated_ms=end_ms, created_by="system", updated_by="system", created_client="system",
        updated_client="system", etag=f'"{start_ms}"', body=document, refers=(flow.id, hours_of(flow.id)),
    )  # fmt: skip


FLOW, SPEC = "f7", "86043421-563b-46ec-8e6c-e23184711bf6"


def pages() -> dict[str, str]:
    """What is asked for."""
    flow, connect = f"/ui/destinations/{FLOW}", f"/ui/connect/{SPEC}"
    return {
        "catalog": "/ui/",
        "catalog, one destination": f"/ui/catalog/{SPEC}",
        "connect, the account": connect,
        "connect, a new account": f"{connect}?use=new",
        "connect, the stream (asks the account for its streams)": f"{connect}/c",
        "connect, the details": f"{connect}/c/t",
        "activate, choose": "/ui/activate",
        "activate, audiences": f"/ui/activate/{FLOW}",
        "browse": "/ui/destinations",
        "browse, searched": "/ui/destinations?q=flow+42",
        "destination, runs": flow,
        "destination, a run": "",
        "destination, activation": f"{flow}?tab=activation",
        "destination, backfills": f"{flow}?tab=backfills",
        "destination, dead letters": f"{flow}?tab=letters",
        "destination, configuration": f"{flow}?tab=configuration",
        "destination, to be deleted": f"{flow}/delete",
        "accounts": "/ui/accounts",
        "an account": "/ui/accounts/c",
        "audiences, with their sizes": "/ui/audiences",
        "attributes": "/ui/attributes",
        "monitoring, 24 hours": "/ui/monitoring?window=24h",
        "monitoring, 7 days": "/ui/monitoring?window=7d",
        "monitoring, 30 days": "/ui/monitoring?window=30d",
        "monitoring, 30 days of a flow": f"/ui/monitoring?window=30d&flow={FLOW}",
        "live view": "/ui/live",
        "profile lookup, the form": "/ui/profile",
        "profile lookup, a person": f"/ui/profile?namespace=email&id={person(KNOWN)}",
        "profile, to be deleted": f"/ui/profile/delete?namespace=email&id={person(KNOWN)}",
        "explain an input": f"/ui/explain?identity=email:{person(KNOWN)}",
        "dead letters": "/ui/dead-letters",
        "alerts": "/ui/alerts",
        "the bell": "/ui/alerts/bell",
        "audit log": "/ui/audit",
        "users": "/ui/people",
        "API clients": "/ui/people?tab=clients",
        "roles": "/ui/people?tab=roles",
        "settings": "/ui/settings",
    }


def steps() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """What is sent to the activation wizard on the way: name to path and fields. It stores nothing before its end."""
    draft = [("audience", audience(n)) for n in range(5)]
    draft += [("path", each) for each in ("person.name.firstName", "personalEmail.address", "loyalty.points")]
    draft += [("etag", "e"), ("switch.metadata", "true")]
    at = f"/ui/activate/{FLOW}"
    real = [("sample_namespace", "email"), ("sample_id", person(KNOWN))]
    return {
        "activate, attributes": (at, [*draft, ("from", "audiences"), ("step", "attributes")]),
        "activate, preview of a made-up person": (f"{at}/preview", draft),
        "activate, preview of a real one": (f"{at}/preview", [*draft, *real]),
        "activate, review with its estimate": (at, [*draft, ("from", "attributes"), ("step", "review")]),
    }


def sent(client: httpx.Client, path: str, fields: list[tuple[str, str]], rounds: int) -> list[float]:
    """Times of a form, as ``asked`` has them of a page."""
    token = re.search(r'name="csrf" value="(\w+)"', client.get("/ui/settings").text)
    assert token is not None
    body: dict[str, list[str]] = {"csrf": [token[1]]}
    for name, value in fields:
        body.setdefault(name, []).append(value)
    found = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        answer = client.post(path, data=body)
        took_ms = (time.perf_counter() - begun) * 1000
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code}: {answer.text[:2000]}")
        found.append(took_ms)
    return found[1:]


def asked(client: httpx.Client, path: str, rounds: int) -> list[float]:
    found = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        answer = client.get(path, follow_redirects=True)
        took_ms = (time.perf_counter() - begun) * 1000
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code}")
        found.append(took_ms)
    return found[1:]


def post_updates(port: int, count: int) -> None:
    """Updates of people who are there, so that journal, ledger and outbox have something to show."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for start in range(0, count, 100):
            messages = [
                {
                    "identityMap": {"Email": [{"id": person(KNOWN + number % 50)}]},
                    "loyalty": {"tier": "gold", "points": number},
                    "segmentMembership": {
                        "ups": {audience(7): {"status": "realized", "lastQualificationTime": SINCE}}
                    },
                }
                for number in range(start, min(count, start + 100))
            ]
            client.post("/collection/batch/bench", json={"messages": messages}).raise_for_status()


def measure(folder: Path, url: str, options: argparse.Namespace) -> tuple[dict[str, list[float]], int]:
    made = configured(url, options.flows)
    first = Serving(folder, made)
    login, password = first.login, first.password
    first.close()
    runs = fill_runs(folder / "data", options.flows, options.hours)
    print(f"{runs:,} runs", flush=True)
    fill_profiles(folder / "data", options.profiles)
    print(f"{options.profiles:,} profiles", flush=True)
    serving = Serving(folder, made, again=True)
    serving.login, serving.password = login, password
    try:
        client = serving.signed_in()
        post_updates(serving.port, UPDATES)
        found = {}

        def put(name: str, times: list[float]) -> None:
            found[name] = times
            print(f"{name}: {statistics.median(times):.0f} ms", flush=True)

        for name, path in pages().items():
            put(name, asked(client, path or _a_run(client), options.rounds))
        for name, (path, fields) in steps().items():
            put(name, sent(client, path, fields, options.rounds))
        put("observed schema (API of the engine)", _schema(folder / "data", options.rounds))
        return found, runs
    finally:
        serving.close()


def priority() -> str:
    """That everything measured here runs before what else the machine does, where it is so."""
    found = os.getpriority(os.PRIO_PROCESS, 0)
    return f", at priority {found} against it" if found else ""


def _a_run(client: httpx.Client) -> str:
    """Path of a run of the flow, from its page."""
    found = re.search(rf'href="(/ui/destinations/{FLOW}/runs/[^"]+)"', client.get(f"/ui/destinations/{FLOW}").text)
    assert found is not None
    return found[1]


def _schema(data: Path, rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        bootstrap.read_folder(settings.load(environ={}, data_dir=data), "observed-schema")
        found.append((time.perf_counter() - begun) * 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench NAME=console")
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--flows", type=int, default=100)
    parser.add_argument("--hours", type=int, default=720)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dry", action="store_true", help="print only, write no row")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, Child(streams={"s": 1}, keep=False) as kinesis:
        found, runs = measure(Path(folder), kinesis.url, options)
    command = shlex.join(
        ["make", "bench", "NAME=console", *([f"ARGS={' '.join(sys.argv[1:])}"] if sys.argv[1:] else [])]
    )
    text = (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n`{command}`, {machine()}, load {load:.2f} at the start"
        f"{priority()}, {options.profiles:,} profiles, {options.flows} flows, {runs:,} runs, "
        f"each page {options.rounds} times\n\n"
        "| page | median ms | least | most |\n|---|--:|--:|--:|\n"
    )
    for name, each in found.items():
        text += f"| {name} | **{statistics.median(each):.0f}** | {min(each):.0f} | {max(each):.0f} |\n"
    print(text)
    if not options.dry:
        RESULTS.write_text((RESULTS.read_text() if RESULTS.exists() else HEAD) + text)


if __name__ == "__main__":
    main()
