"""I8 as it is shown: metrics, status, the command's tables, ledger and outbox tell the same totals, come what may."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from headrace.cli.tables import show_totals
from headrace.core import flow as flows
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.metrics import exposition
from headrace.runtimes.embedded import observe
from headrace.state import ledger, reading, records
from headrace.state.keys import OUTBOX, SETTLED
from tests.runtimes.road import KEYS, Lines, MemoryDisk, Road, flow, snapshot, update

FLOWS = snapshot(
    flow("plain"), flow("asks", consent=flows.Consent(("ok",), ("y",))), flow("joins", deliver="joinedLeft"),
    flow("tight", disk_budget_bytes=3_000),
)  # fmt: skip


def scraped(road: Road) -> dict[tuple[str, ...], float]:
    """What a scrape tells: name and label values, sorted by label, to figure."""
    text = exposition(lambda: observe.shown(road.engine, road.clock.now_ms())).decode()
    return {
        (
            sample.name.removeprefix("headrace_"),
            *(sample.labels[name] for name in sorted(sample.labels)),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def waiting(road: Road) -> Counter[str]:
    """Exports in the outbox that are not settled, by flow, read from the state."""
    state = road.disk.open()
    found: Counter[str] = Counter()
    for key, value in state.scan(*KEYS.space(OUTBOX)):
        mark = state.get_many([key.replace(KEYS.prefix + OUTBOX, KEYS.prefix + SETTLED, 1)])[0]
        bits = int.from_bytes(mark, "little") if mark else 0
        flow_id = key[len(KEYS.prefix) + 1 :].split(b"\0")[0].decode()
        found[flow_id] += sum(not bits >> index & 1 for index in range(len(records.decode_exports(value))))
    return found


def printed(totals: records.Totals) -> dict[str, Counter[str]]:
    """What ``headrace status`` prints of them: flow id, or "" for the updates, to a row's name and its figure."""
    text = io.StringIO()
    show_totals(Console(file=text, width=200), totals, [])
    found: dict[str, Counter[str]] = {"": Counter()}
    part = ""
    for line in text.getvalue().splitlines():
        words = line.split()
        if words and words[0] == "Flow":
            part = words[1]
            found[part] = Counter()
        for index, word in enumerate(words[1:], 1):
            if word.replace(",", "").isdigit():
                found[part][" ".join(words[:index])] += int(word.replace(",", ""))
                break
    return found


def held_to_one_another(road: Road) -> dict[str, Any]:
    """Metrics, status, the command's tables, stored totals, ledger and outbox agree, and add up; the totals."""
    shown, status = scraped(road), observe.status(road.engine)["totals"]
    stored = msgspec.to_builtins(reading.totals(road.disk.open(), KEYS))
    assert status == stored
    tables = printed(reading.totals(road.disk.open(), KEYS))
    assert tables.keys() == {"", *status["flows"]}
    for name in ("received", "accepted", "repeats", "profiles"):
        assert tables[""][name] == status[name]
    assert tables[""]["refused"] == sum(status["refused"].values())
    by_flow: dict[str, Counter[str]] = {flow_id: Counter() for flow_id in status["flows"]}
    for entry in ledger.Ledger(road.disk.open(), KEYS).find(ledger.Query()):
        by_flow[entry.flow][entry.outcome] += 1
    pending = waiting(road)
    for name in ("received", "accepted", "repeats"):
        assert shown[f"{name}_total",] == status[name]
    for flow_id, totals in status["flows"].items():
        settled, table = by_flow[flow_id], tables[flow_id]
        discarded = sum(totals["discarded"].values())
        for name in ("accepted", "exported", "delivered", "dead_lettered"):
            assert shown[f"flow_{name}_total", flow_id] == totals[name], (name, flow_id)
        assert shown["flow_pending", flow_id] == pending[flow_id]
        assert (settled["delivered"], settled["dead-letter"]) == (totals["delivered"], totals["dead_lettered"])
        assert settled["discarded"] == discarded
        held = sum(n for (name, *labels), n in shown.items() if name == "flow_held_total" and labels[0] == flow_id)
        assert shown["flow_accepted_total", flow_id] == shown["flow_exported_total", flow_id] + held
        assert table["not exported"] == held
        assert table["discarded"] == discarded
        assert table["dead-lettered"] == totals["dead_lettered"]
        assert table["pending"] == pending[flow_id]
        for name in ("exported", "delivered"):
            assert table[name] == totals[name], (name, flow_id)
        assert totals["exported"] == totals["delivered"] + totals["dead_lettered"] + pending[flow_id] + discarded
    return dict(stored)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([True, False, None]), st.sampled_from(["y", "n", ""])),
        min_size=1, max_size=60,
    ),
    st.lists(st.tuples(st.sampled_from([Verdict.RETRY, Verdict.UNKNOWN, Verdict.REJECTED]), st.integers(1, 20)),
             max_size=6),
    st.lists(st.integers(1, 40), max_size=3),
    st.integers(1, 7),
)  # fmt: skip
def test_i8_whatever_happens(
    said: list[tuple[int, bool | None, str]], refused: list[tuple[Verdict, int]], cuts: list[int], at_once: int
) -> None:
    """Under refusals, power cuts, consent that comes and goes, and a budget that is soon reached."""
    consents: dict[str, dict[str, Any]] = {"y": {"ok": "y"}, "n": {"ok": "n"}, "": {}}
    lines = [update(number, f"email:u{who}", vip=vip, **consents[ok]) for number, (who, vip, ok) in enumerate(said)]
    source = Lines([*lines, b"{"], sizes=lambda: at_once)
    road = Road(MemoryDisk(), source, FLOWS, limits=Limits(records=3), batch_updates=at_once)
    for verdict, nth in refused:
        road.stream("plain").script(Rule(verdict, nth=nth, code="Scripted"))
        road.stream("asks").script(Rule(verdict, nth=nth, code="Scripted"))
    road.run_through(cuts)
    totals = held_to_one_another(road)
    # What the loop gives itself, a catch-up over the budget, is received too.
    assert totals["received"] >= len(lines) + 1
    assert totals["refused"] == {"not-json": 1}


@pytest.mark.parametrize("paused", [True, False])
def test_i8_while_exports_wait(paused: bool) -> None:
    """A flow that is paused, or whose destination accepts nothing, has its exports in the outbox."""
    configuration = snapshot(flow("plain", paused=paused), flow("asks"))
    road = Road(MemoryDisk(), Lines([update(n, f"email:u{n % 3}", vip=True) for n in range(20)]), configuration)
    if not paused:
        road.stream("plain").script(Rule(Verdict.HALT, times=None, code="AccessDenied"))
    road.run()
    totals = held_to_one_another(road)
    assert totals["flows"]["plain"]["exported"] == 20
    assert totals["flows"]["plain"]["delivered"] == 0
