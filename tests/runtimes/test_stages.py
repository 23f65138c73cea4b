"""What is counted by batch and by request, against what the streams hold."""

from __future__ import annotations

import pytest

from headrace import metrics
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.metrics import DEFINITIONS, MOST_SHARDS, Histogram, Shown, exposition
from headrace.runtimes.embedded import observe
from headrace.runtimes.embedded.stages import OTHER, FlowStages, Round
from tests.runtimes.living import live, passes, quiet
from tests.runtimes.road import Lines, MemoryDisk, Road, flow, members, refuse, snapshot


def counts(road: Road, *rules: Rule) -> Shown:
    refuse(road, *rules)
    road.run()
    return observe.shown(road.engine, road.clock.now_ms())


def figure(shown: Shown, name: str, *labels: str) -> float:
    return shown.samples[name][labels]


def test_requests_are_counted_with_what_was_in_them() -> None:
    """Records, bytes and fill of every request; shards add up to what was delivered."""
    road = Road(MemoryDisk(), Lines(members(100, 20)), limits=Limits(records=10))
    shown = counts(road)
    stages = road.engine.stages.flows["f"]
    requests = figure(shown, "flow_requests", "f")
    assert figure(shown, "flow_written", "f") == figure(shown, "flow_delivered", "f") == 100
    assert stages.fill.count == stages.sent.count == stages.acknowledged.count == requests
    assert stages.fill.sum == pytest.approx(100 / 10)
    assert sum(shown.samples["flow_shard_delivered"].values()) == 100
    assert {labels[0] for labels in shown.samples["flow_shard_delivered"]} == {"f"}
    assert figure(shown, "flow_written_bytes", "f") == sum(
        len(record.data) + len(record.key) for record in road.stream().accepted
    )


def test_records_written_again_and_rejected_are_counted_apart() -> None:
    """Written counts each write; delivered by shard counts none that was refused; rejected has the code."""
    road = Road(MemoryDisk(), Lines(members(10, 10)))
    shown = counts(
        road, Rule(Verdict.RETRY, code="Throttled", times=3), Rule(Verdict.REJECTED, code="Bad", nth=5, times=2)
    )
    assert figure(shown, "flow_written", "f") == 10 + 3
    assert figure(shown, "flow_rejected", "f", "Bad") == figure(shown, "flow_dead_lettered", "f") == 2
    assert sum(shown.samples["flow_shard_delivered"].values()) == 8
    assert figure(shown, "flow_refusals", "f", "Throttled") == 3


def test_commits_are_counted_with_their_inputs() -> None:
    """Inputs of all commits are those that were accepted, and each commit has its three times."""
    rounds: list[Round] = []
    road = Road(MemoryDisk(), Lines(members(95, 5), sizes=lambda: 7))
    road.life(
        lambda engine: engine.run(until_drained=True), prepare=lambda: road.engine.on_round.append(rounds.append)
    )
    stages = road.engine.stages
    assert stages.inputs.sum == 95
    with_inputs = [one for one in rounds if one.last >= one.first]
    assert stages.inputs.count == stages.accepted.count == stages.decided.count == len(with_inputs)
    assert [one.first for one in with_inputs] == [1, *(one.last + 1 for one in with_inputs[:-1])]
    assert sum(one.settled for one in rounds) == 95


def test_the_age_of_the_oldest_export_grows_until_it_is_settled() -> None:
    """By the clock, of what waits in memory; nothing waits, no age."""
    road = quiet(MemoryDisk(), members(9, 3), snapshot(flow("p", paused=True), flow("w")))
    shown = live(road, passes(road, 70), lambda engine: observe.shown(engine, road.clock.now_ms()))[-1]
    assert 70 <= figure(shown, "flow_oldest_pending_seconds", "p") < 80
    assert figure(shown, "flow_oldest_pending_seconds", "w") == 0
    assert (figure(shown, "flow_paused", "p"), figure(shown, "flow_paused", "w")) == (1, 0)
    assert figure(shown, "flow_backlog_bytes", "p") > 0


def test_shards_are_bounded() -> None:
    """Those beyond the limit are counted together, and nothing is lost."""
    road = Road(MemoryDisk(), Lines([]))
    road.run()
    stages = FlowStages()
    stages.shards = {f"shard-{n}": 1 for n in range(MOST_SHARDS)}
    road = Road(MemoryDisk(), Lines(members(10, 10)))
    road.life(
        lambda engine: engine.run(until_drained=True), prepare=lambda: road.engine.stages.flows.update(f=stages)
    )  # fmt: skip
    assert stages.shards[OTHER] == 10
    assert len(stages.shards) == MOST_SHARDS + 1


def test_the_status_of_one_flow_is_its_part_of_the_whole() -> None:
    """In brief: totals, and how it stands; else with the stages that it shares and those of its own."""
    road = Road(MemoryDisk(), Lines(members(20, 5)), snapshot(flow("f"), flow("o")))
    road.run()
    whole, one = (observe.status(road.engine, flow=flow_id) for flow_id in ("", "o"))
    assert set(whole["totals"]["flows"]) == {"f", "o"}
    assert one["totals"] == whole["totals"] | {"flows": {"o": whole["totals"]["flows"]["o"]}}
    for part, shared in (("flows", ()), ("stages", ("",)), ("shards", ())):
        name = "flow_id" if part == "flows" else "flow"
        assert {each[name] for each in whole[part]} >= {"f", "o"}
        assert one[part] == [each for each in whole[part] if each[name] in ("o", *shared)]
    brief = observe.status(road.engine, flow="o", brief=True)
    assert brief == {name: one[name] for name in ("totals", "flows", "configuration")}


def test_the_bound_within_which_a_share_lies() -> None:
    """In milliseconds: of half, of all but the last, and None beyond the last bound."""
    seconds = Histogram([0.1, 0.2, 0.4])
    for value in (0.05, 0.15, 0.15, 0.3, 9.0):
        seconds.add(value)
    assert [observe.within_ms(seconds, share) for share in (0.2, 0.21, 0.5, 0.8, 0.81, 1)] == [
        100, 200, 200, 400, None, None,
    ]  # fmt: skip


def test_every_metric_that_is_shown_is_in_the_list_and_every_one_of_the_list_is_shown() -> None:
    """Names, kinds and the number of labels; by an engine that met refusals, merges and dead letters."""
    road = Road(MemoryDisk(), Lines([*members(20, 5), b"{"]), snapshot(flow(), flow("o", trigger_attribute=False)))
    refuse(road, Rule(Verdict.REJECTED, code="Bad", times=1))
    shown = counts(road, Rule(Verdict.REJECTED, code="Bad", times=1))
    listed = {definition.name: definition for definition in DEFINITIONS}
    assert set(shown.samples) | set(shown.histograms) <= set(listed)
    for name, samples in [*shown.samples.items(), *shown.histograms.items()]:
        assert (name in shown.histograms) == (listed[name].kind == "histogram")
        assert all(len(labels) == len(listed[name].labels) for labels in samples), name
    assert set(listed) - set(shown.samples) - set(shown.histograms) == set()
    text = exposition(lambda: shown).decode()
    for name, definition in listed.items():
        suffix = "_total" if definition.kind == "counter" else ""
        assert f"# TYPE headrace_{name}{suffix} {definition.kind}" in text


def test_a_histogram_counts_by_bound() -> None:
    """A value on a bound belongs to it; beyond the last one is counted too; sums are exact."""
    made = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        made.add(value)
    assert (made.counts, made.sum, made.count) == ([2, 2, 1], 14.0, 5)
    text = exposition(lambda: Shown({}, {"commit_inputs": {(): made}})).decode()
    for line in ('_bucket{le="1.0"} 2.0', '_bucket{le="2.0"} 4.0', '_bucket{le="+Inf"} 5.0', "_sum 14.0"):
        assert f"headrace_commit_inputs{line}" in text
    assert metrics.of_milliseconds({5: 2, 6: 1}).counts[:2] == [2, 1]
