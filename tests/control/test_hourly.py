"""Runs of each hour from the engine's totals: nothing twice, nothing lost, whoever was away in between."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.clock import Manual
from headrace.control import runs
from headrace.control.hourly import DAY_MS, Recorder
from headrace.control.paging import Listing
from headrace.control.runs import HOUR_MS, hours_of
from headrace.control.service import Control
from headrace.control.store import Store

from .plane import ANN, SCOPE, START_MS, one_of_each, plane

H = START_MS


def totals(accepted: int, delivered: int, dead: int = 0, held: int = 0) -> dict[str, Any]:
    """Totals of a flow, whose messages have a hundred bytes."""
    return {
        "accepted": accepted, "exported": delivered + dead, "delivered": delivered, "dead_lettered": dead,
        "delivered_bytes": delivered * 100, "held": {"not-a-member": held} if held else {}, "discarded": {},
        "codes": {"TooLarge": dead} if dead else {},
    }  # fmt: skip


def hour(flow: str, start_ms: int, counted: dict[str, Any], latency: Any = None, **segments: int) -> dict[str, Any]:
    """An hour as the engine tells it."""
    named = {f"CRM/{name}": count for name, count in segments.items()}
    return {"start_ms": start_ms, "flows": {flow: {"totals": counted, "latency": latency, "segments": named}}}


def said(current: dict[str, Any], *past: dict[str, Any], life: int = 1) -> dict[str, Any]:
    """What the engine answers."""
    return {"life": life, "past": list(past), "current": current}


def recorded(control: Control) -> list[tuple[int, str, int, int, int, int]]:
    """Start (in hours), state, received, delivered, failed and skipped of each run, the oldest first."""
    items = runs.list_runs(control, ANN, Listing()).items
    found = []
    for each in items:
        s = each["metrics"]["recordSummary"]
        start = each["metrics"]["durationSummary"]["startedAtUTC"]
        found.append(
            ((start - H) // HOUR_MS, each["state"], s["inputRecordCount"], s["outputRecordCount"],
             s["failedRecordCount"], s["skippedRecordCount"])
        )  # fmt: skip
    return sorted(found)


def test_hours_are_the_differences_of_totals(store: Store) -> None:
    """Looks within an hour replace one another; the hour's end closes it; the next one begins there."""
    control = plane(store)
    flow = one_of_each(control).flow
    recorder = Recorder(control, SCOPE)
    recorder.look(said(hour(flow, H, totals(5, 3, held=2))))
    recorder.look(said(hour(flow, H, totals(9, 6, 1, held=2), [5, 50, 140, 7], vip=6)))
    assert recorded(control) == [(0, "inProgress", 9, 6, 1, 2)]
    end = hour(flow, H, totals(10, 7, 1, held=2), [5, 60, 200, 8], vip=7)
    recorder.look(said(hour(flow, H + HOUR_MS, totals(14, 9, 1, held=4)), end))
    assert recorded(control) == [(0, "success", 10, 7, 1, 2), (1, "inProgress", 4, 2, 0, 2)]
    item = next(each for each in runs.list_runs(control, ANN, Listing()).items if each["state"] == "success")
    figures = item["metrics"]
    assert figures["latencySummary"] == {"minMs": 5, "maxMs": 60, "avgMs": 25}
    assert figures["sizeSummary"]["outputBytes"] == 700
    assert figures["recordSummary"]["failedInfo"][0]["code"] == "TooLarge"
    assert figures["recordSummary"]["skippedInfo"][0]["code"] == "not-a-member"
    assert figures["recordSummary"]["targetSummaries"][0]["entitySummaries"][0]["id"] == "segment:vip"
    assert figures["durationSummary"]["completedAtUTC"] == H + HOUR_MS


@pytest.mark.parametrize("seen", [True, False])
def test_nothing_is_lost_while_nobody_looks(store: Store, seen: bool) -> None:
    """Hours that the engine kept come out exactly; those that it did not are in the next look's; the sum is right."""
    control = plane(store)
    flow = one_of_each(control).flow
    Recorder(control, SCOPE).look(said(hour(flow, H, totals(5, 5))))
    past = [hour(flow, H, totals(6, 6)), hour(flow, H + HOUR_MS, totals(8, 8))] if seen else []
    # Another recorder: the control process was started again; without the past, the engine as well.
    Recorder(control, SCOPE).look(said(hour(flow, H + 2 * HOUR_MS, totals(20, 20)), *past, life=1 if seen else 2))
    found = recorded(control)
    if seen:
        assert [each[:4] for each in found] == [
            (0, "success", 6, 6), (1, "success", 2, 2), (2, "inProgress", 12, 12),
        ]  # fmt: skip
    else:
        assert [each[:4] for each in found] == [(0, "success", 5, 5), (2, "inProgress", 15, 15)]
    assert sum(each[3] for each in found) == 20


def test_a_restart_of_the_engine_within_an_hour_adds_up(store: Store) -> None:
    """Totals go on, and what each life saw is put together."""
    control = plane(store)
    flow = one_of_each(control).flow
    recorder = Recorder(control, SCOPE)
    recorder.look(said(hour(flow, H, totals(4, 4), [10, 20, 60, 4], vip=4), life=1))
    recorder.look(said(hour(flow, H, totals(4, 4)), life=2))
    recorder.look(said(hour(flow, H, totals(6, 6), [2, 40, 42, 2], vip=1, new=1), life=2))
    (run,) = runs.list_runs(control, ANN, Listing()).items
    assert recorded(control) == [(0, "inProgress", 6, 6, 0, 0)]
    assert run["metrics"]["latencySummary"] == {"minMs": 2, "maxMs": 40, "avgMs": 17}
    entities = run["metrics"]["recordSummary"]["targetSummaries"][0]["entitySummaries"]
    assert {each["id"]: each["outputRecordCount"] for each in entities} == {"segment:vip": 5, "segment:new": 1}


def test_a_folder_of_before_counts_nothing_backwards(store: Store) -> None:
    """After a backup was restored the totals are smaller: the hour holds nothing, and goes on from there."""
    control = plane(store)
    flow = one_of_each(control).flow
    recorder = Recorder(control, SCOPE)
    recorder.look(said(hour(flow, H, totals(10, 10))))
    recorder.look(said(hour(flow, H + HOUR_MS, totals(3, 3)), life=2))
    recorder.look(said(hour(flow, H + HOUR_MS, totals(5, 5)), life=2))
    assert [each[:4] for each in recorded(control)] == [(0, "success", 10, 10), (1, "inProgress", 2, 2)]


def test_the_same_look_again_changes_nothing(store: Store) -> None:
    """Neither a record nor its etag."""
    control = plane(store)
    flow = one_of_each(control).flow
    answer = said(hour(flow, H + HOUR_MS, totals(3, 3)), hour(flow, H, totals(2, 2), [1, 1, 2, 2], vip=2))
    Recorder(control, SCOPE).look(answer)
    before = runs.list_runs(control, ANN, Listing()).items
    Recorder(control, SCOPE).look(answer)
    assert runs.list_runs(control, ANN, Listing()).items == before


def test_old_runs_are_swept_and_flows_that_are_gone_have_none(store: Store) -> None:
    """Runs older than the setting go with the next hour; a flow that only the engine knows makes none."""
    clock = Manual(H)
    control = plane(store, clock=clock)
    flow = one_of_each(control).flow
    recorder = Recorder(control, SCOPE, keep_days=2)
    recorder.look(said(hour(flow, H, totals(1, 1))))
    clock.advance(3 * DAY_MS / 1000)
    recorder.look(said(hour(flow, H + 3 * DAY_MS, totals(2, 2)), hour("gone", H, totals(7, 7))))
    assert [each[:4] for each in recorded(control)] == [(72, "inProgress", 1, 1)]
    recorder.look(said(hour("gone", H + 3 * DAY_MS, totals(7, 7))))
    assert len(recorded(control)) == 1
    assert hours_of(flow) != flow
