"""Runs: one an hour and flow, whole figures, the same after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace.clock import Manual
from headrace.control import flows, runs
from headrace.control.paging import Listing
from headrace.control.runs import HOUR_MS, Count, Figures
from headrace.control.store import Store
from headrace.errors import UseCaseError

from .plane import ANN, SCOPE, START_MS, caller, flow_body, one_of_each, plane


def refused(call: Callable[[], Any]) -> str:
    """The code of a call that is refused."""
    with pytest.raises(UseCaseError) as error:
        call()
    return error.value.error_code


def test_an_hour_of_a_flow_is_one_run(store: Store) -> None:
    """Putting figures down again replaces them; the same figures change nothing; the flow shows its last run."""
    control = plane(store)
    made = one_of_each(control)
    figures = Figures(
        received=10, delivered=6, failed=1, skipped=3, output_bytes=600, least_ms=5, greatest_ms=50, average_ms=20,
        failures=(Count(code="KINESIS-0001-400", message="too large", count=1),), segments={made.segment: 6},
    )  # fmt: skip
    first = runs.record_run(control, SCOPE, made.flow, START_MS + 1, Figures(received=1))
    assert first == runs.record_run(control, SCOPE, made.flow, START_MS + HOUR_MS - 1, figures)
    etag = flows.get_flow(control, ANN, made.flow)["etag"]
    before = runs.get_run(control, ANN, first or "")
    runs.record_run(control, SCOPE, made.flow, START_MS, figures)
    item = runs.get_run(control, ANN, first or "")
    assert item == before
    summary = item["metrics"]["recordSummary"]
    counts = ("inputRecordCount", "outputRecordCount", "failedRecordCount", "skippedRecordCount")
    assert [summary[name] for name in counts] == [10, 6, 1, 3]
    assert summary["failedInfo"] == [{"code": "KINESIS-0001-400", "message": "too large", "count": 1}]
    assert summary["sourceSummaries"][0]["id"] == made.source
    assert summary["targetSummaries"][0]["entitySummaries"][0]["id"] == f"segment:{made.segment}"
    assert item["metrics"]["latencySummary"] == {"minMs": 5, "maxMs": 50, "avgMs": 20}
    assert item["metrics"]["statusSummary"]["status"] == "Processing"
    assert item["createdAt"] == START_MS
    assert flows.get_flow(control, ANN, made.flow)["lastRunDetails"] == {
        "id": first, "state": "inProgress", "startedAtUTC": START_MS,
    }  # fmt: skip
    assert flows.get_flow(control, ANN, made.flow)["etag"] == etag


def test_an_hour_ends_well_or_badly(store: Store) -> None:
    """Failed means that nothing arrived and something did not; a late earlier hour does not become the last run."""
    control = plane(store)
    flow = one_of_each(control).flow
    later = runs.record_run(control, SCOPE, flow, START_MS + HOUR_MS, Figures(failed=2, completed=True))
    earlier = runs.record_run(control, SCOPE, flow, START_MS, Figures(delivered=5, failed=2, completed=True))
    states = {each["id"]: each["state"] for each in runs.list_runs(control, ANN, Listing()).items}
    assert states == {later: "failed", earlier: "success"}
    last = flows.get_flow(control, ANN, flow)["lastRunDetails"]
    assert last == {
        "id": later, "state": "failed", "startedAtUTC": START_MS + HOUR_MS, "completedAtUTC": START_MS + 2 * HOUR_MS,
    }  # fmt: skip


def test_runs_are_found_by_their_flow_and_figures(store: Store) -> None:
    """The filters that the guides show; runs of a deleted flow stay, and none is put down for it."""
    control = plane(store)
    made = one_of_each(control)
    for hour in range(3):
        runs.record_run(
            control, SCOPE, made.flow, START_MS + hour * HOUR_MS,
            Figures(delivered=hour, segments={made.segment: hour}, completed=hour > 0),
        )  # fmt: skip

    def found(*properties: str) -> list[int]:
        items = runs.list_runs(control, ANN, Listing(properties=properties)).items
        return [(each["createdAt"] - START_MS) // HOUR_MS for each in items]

    flow = f"flowId=={made.flow}"
    assert found(flow) == [2, 1, 0]
    assert found("flowId==other") == []
    assert found(flow, "metrics.statusSummary.status==success") == [2, 1]
    assert found(flow, f"metrics.durationSummary.startedAtUTC>{START_MS}") == [2, 1]
    assert found(flow, "metrics.durationSummary.completedAtUTC>0", "state==success") == [2, 1]
    assert found(f"metrics.recordSummary.targetSummaries[].entitySummaries[].id==segment:{made.segment}") == [2, 1, 0]
    assert found(f"metrics.recordSummary.sourceSummaries[].id=={made.source}", "state==inProgress") == [0]
    flows.delete_flow(control, ANN, made.flow)
    assert found(flow) == [2, 1, 0]
    assert runs.record_run(control, SCOPE, made.flow, START_MS, Figures()) is None


def test_clients_put_runs_down_and_users_do_not(store: Store) -> None:
    """As the public client library does; the flow must be there."""
    control = plane(store)
    made = one_of_each(control)
    body = {"flowId": made.flow, "status": "active", "params": {"a": 1}}
    written = runs.create_run(control, ANN, body)
    assert runs.get_run(control, ANN, written.id)["params"] == {"a": 1}
    assert refused(lambda: runs.create_run(control, caller(kind="user"), body)) == "1427-400"
    assert refused(lambda: runs.create_run(control, ANN, {"flowId": "none"})) == "1430-400"
    assert refused(lambda: runs.create_run(control, ANN, {"flowId": 1, "params": []})) == "3000-400"
    assert refused(lambda: runs.get_run(control, ANN, "none")) == "1101-404"


def test_what_was_delivered_of_each_audience(store: Store) -> None:
    """Summed over the flow's own hours since a time, the hour that it lies in among them, without runs by clients.

    A week is summed at the most, the last one.
    """
    clock = Manual(START_MS)
    control = plane(store, clock=clock)
    made = one_of_each(control)
    other = flows.create_flow(control, ANN, flow_body(made.source, made.target) | {"name": "Other"}).id
    for hour in range(30):
        segments = {made.segment: 2, "gone": hour % 2}
        runs.record_run(control, SCOPE, made.flow, START_MS + hour * HOUR_MS, Figures(segments=segments))
        runs.record_run(control, SCOPE, other, START_MS + hour * HOUR_MS, Figures(segments={made.segment: 100}))
    runs.create_run(control, ANN, {"flowId": made.flow})
    clock.advance(29.5 * 3600)

    def summed(flow: str, hour: float) -> dict[str, int]:
        return runs.sum_audiences(control, ANN, flow, since_ms=START_MS + int(hour * HOUR_MS))

    assert summed(made.flow, 6.5) == {made.segment: 48, "gone": 12}
    assert summed(made.flow, 30) == {}
    assert summed("none", 0) == summed("\0", 0) == {}
    clock.advance(167 * 3600)
    assert summed(made.flow, 0) == {made.segment: 2, "gone": 1}
    clock.advance(3600)
    assert summed(made.flow, 0) == {}
