"""The rules of the alerts, each promise by its number, on looks that are given by hand."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.alerts.kinds import KINDS
from headrace.alerts.rules import Alert, FlowSeen, Limits, Memory, Rules, RunSeen, Seen
from headrace.core.flow import FlowAlerts
from headrace.core.reasons import ALERTS

LOOK_MS = 5_000


class Watched:
    """Rules that look every 5 seconds."""

    def __init__(self, memory: Memory | None = None, **limits: Any) -> None:
        self.limits = Limits(**limits)
        self.rules = Rules(self.limits, memory)
        self.now_ms = 1_000_000

    def look(self, *flows: FlowSeen, times: int = 1, **also: Any) -> list[tuple[str, str, str]]:
        """What so many looks at the same come to: (kind, flow, raised or recovered)."""
        return [_shown(alert) for _ in range(times) for alert in self.alerts(*flows, **also)]

    def alerts(self, *flows: FlowSeen, **also: Any) -> list[Alert]:
        self.now_ms += LOOK_MS
        return self.rules.look(Seen(now_ms=self.now_ms, flows=list(flows), **also))

    def restarted(self) -> Watched:
        """The rules of another process, with what was stored."""
        stored = msgspec.json.decode(msgspec.json.encode(self.rules.memory), type=Memory)
        other = Watched(stored)
        other.now_ms = self.now_ms
        return other


def _shown(alert: Alert) -> tuple[str, str, str]:
    return alert.kind, alert.flow, "raised" if alert.until_ms is None else "recovered"


def seen(flow_id: str = "f", **fields: Any) -> FlowSeen:
    return FlowSeen(id=flow_id, name=fields.pop("name", "Flow"), **fields)


WELL = seen()
CAUSES: dict[str, tuple[FlowSeen, dict[str, Any]]] = {
    "flow-paused": (seen(paused=True), {}),
    "dead-letter-cap": (seen(paused=True, capped=True), {}),
    "destination-halted": (seen(halted="AccessDenied: no"), {}),
    "breaker-open": (seen(breaker="timeout: none"), {}),
    "lag": (seen(oldest_ms=301_000), {}),
    "catch-up": (seen(overflow="over"), {}),
    "run-failed": (WELL, {"failed_runs": [RunSeen(id="r", flow="f", problem="gone")]}),
    "sources-held": (WELL, {"sources_held": True}),
}
"""Kinds that last as long as something is so."""

LONG = 30


def test_a1_each_kind_is_raised_once_and_recovers_once() -> None:
    """However often it is looked at."""
    for kind, (flow, also) in CAUSES.items():
        watched = Watched()
        assert watched.look(WELL, times=3) == []
        name = "" if kind == "sources-held" else "f"
        assert watched.look(flow, times=LONG, **also) == [(kind, name, "raised")]
        assert [_shown(alert) for alert in watched.rules.memory.open] == [(kind, name, "raised")]
        assert watched.look(WELL, times=LONG) == [(kind, name, "recovered")]
        assert watched.rules.memory.open == []


def test_every_kind_is_described_and_known_to_the_configuration() -> None:
    """The list of kinds is the closed list of reasons, and a title names the flow wherever there is one."""
    assert set(KINDS) == set(ALERTS)
    for kind, about in KINDS.items():
        assert about.severity in ("critical", "warning", "info")
        assert ("{name}" in about.title) == (kind not in ("refused-updates", "sources-held"))


def test_an_alert_tells_what_and_when() -> None:
    """Title with the flow's name, detail with the answer, times of the looks."""
    watched = Watched()
    watched.look(WELL)
    raised = watched.alerts(CAUSES["destination-halted"][0])[0]
    assert (raised.title, raised.detail) == ("Flow: the destination accepts nothing", "AccessDenied: no")
    assert (raised.severity, raised.since_ms, raised.until_ms) == ("critical", watched.now_ms, None)
    (over,) = [alert for _ in range(10) for alert in watched.alerts(WELL)]
    assert over.id == raised.id
    assert over.until_ms == raised.since_ms + 4 * LOOK_MS


def test_a2_what_comes_and_goes_quickly_is_neither_raised_nor_ended() -> None:
    """A breaker that is open for one look raises nothing; one that is closed for a few ends nothing."""
    watched = Watched()
    broken = CAUSES["breaker-open"][0]
    for _ in range(10):
        assert watched.look(WELL) == []
        assert watched.look(broken, times=2) == []
    assert watched.look(broken) == [("breaker-open", "f", "raised")]
    for _ in range(10):
        assert watched.look(WELL, times=6) == []
        assert watched.look(broken) == []
    assert watched.look(WELL, times=7) == [("breaker-open", "f", "recovered")]


def test_a3_lag_recovers_under_half_of_its_limit() -> None:
    """Around the limit nothing is told anew."""
    watched = Watched(lag_s=10)
    assert watched.look(seen(oldest_ms=10_000), times=3) == []
    assert watched.look(seen(oldest_ms=10_001)) == [("lag", "f", "raised")]
    for age in (9_000, 11_000, 5_001) * 20:
        assert watched.look(seen(oldest_ms=age)) == []
    assert watched.look(seen(oldest_ms=5_000), times=LONG) == [("lag", "f", "recovered")]


def test_a3_the_skip_rate_is_that_of_the_window() -> None:
    """20 of 100 changes within ten minutes are no alert, 21 are; it recovers at 10 of 100."""
    watched = Watched()
    exported = skipped = 5_000

    def more(made: int, held: int) -> list[tuple[str, str, str]]:
        nonlocal exported, skipped
        exported, skipped = exported + made, skipped + held
        return watched.look(seen(exported=exported, skipped={"consent": skipped - 100, "paused": 100}))

    assert more(0, 0) == []
    assert more(80, 20) == []
    assert more(0, 1) == [("skip-rate", "f", "raised")]
    assert watched.rules.memory.open[0].detail == "21 of 101 changes: consent 21"
    assert more(100, 0) == []
    assert more(10, 0) == [("skip-rate", "f", "recovered")]
    for _ in range(LONG * 10):
        assert more(0, 0) == []
    assert more(0, 99) == []
    assert more(0, 1) == [("skip-rate", "f", "raised")]


def test_dead_letters_are_told_of_once_until_there_are_none_for_a_while() -> None:
    """Each new one within the window keeps the alert open; old ones say nothing."""
    watched = Watched()
    assert watched.look(seen(dead_lettered=7), refused=3) == []
    assert watched.look(seen(dead_lettered=8), refused=3) == [("dead-letters", "f", "raised")]
    assert watched.look(seen(dead_lettered=9), refused=4) == [("refused-updates", "", "raised")]
    assert watched.look(seen(dead_lettered=9), refused=4, times=119) == []
    assert sorted(watched.look(seen(dead_lettered=9), refused=4, times=2)) == [
        ("dead-letters", "f", "recovered"), ("refused-updates", "", "recovered"),
    ]  # fmt: skip


def test_a4_a_restart_raises_nothing_again() -> None:
    """What was open is open; what is no longer so recovers; what came while nobody looked is new."""
    watched = Watched()
    watched.look(WELL)
    assert watched.look(seen(halted="x", dead_lettered=2)) == [
        ("destination-halted", "f", "raised"), ("dead-letters", "f", "raised"),
    ]  # fmt: skip
    watched = watched.restarted()
    assert watched.look(seen(halted="x", dead_lettered=2)) == [("dead-letters", "f", "recovered")]
    watched = watched.restarted()
    assert watched.look(seen(halted="x", dead_lettered=5), seen("new", dead_lettered=1), times=5) == [
        ("dead-letters", "f", "raised"), ("dead-letters", "new", "raised"),
    ]  # fmt: skip
    watched = watched.restarted()
    assert watched.look(seen(dead_lettered=5), times=5)[-1] == ("destination-halted", "f", "recovered")
    ids = {alert.id for alert in watched.rules.memory.open}
    assert len(ids) == len(watched.rules.memory.open)


def test_a5_a_flow_that_is_gone_leaves_nothing_open() -> None:
    """Each alert of it recovers."""
    watched = Watched()
    watched.look(WELL)
    watched.look(seen(paused=True, overflow="over", dead_lettered=1))
    assert len(watched.rules.memory.open) == 3
    assert {told for _, _, told in watched.look(times=LONG)} == {"recovered"}
    assert watched.rules.memory.open == []


def test_a_flow_may_say_otherwise() -> None:
    """Its own limits, and kinds that it does not want."""
    own = FlowAlerts(lag_s=1, mute=("dead-letters",))
    watched = Watched()
    watched.look(seen(alerts=own))
    assert watched.look(seen(alerts=own, oldest_ms=1_001, dead_lettered=1)) == [("lag", "f", "raised")]


def test_a_pause_hides_the_lag_that_comes_of_it() -> None:
    """One cause, one alert."""
    watched = Watched()
    assert watched.look(seen(paused=True, oldest_ms=1 << 40), times=5) == [("flow-paused", "f", "raised")]


@given(st.lists(st.tuples(st.sampled_from(sorted(CAUSES)), st.integers(1, 12), st.booleans()), max_size=30))
def test_a1_told_in_turns_whatever_happens(history: list[tuple[str, int, bool]]) -> None:
    """For each alert key, raised and recovered take turns over any history and any restarts."""
    watched = Watched()
    told: dict[tuple[str, str], str] = {}
    for kind, times, restart in history:
        flow, also = CAUSES[kind]
        for name, flow_id, now in watched.look(flow, times=times, **also):
            assert told.get((name, flow_id), "recovered") != now
            told[name, flow_id] = now
        if restart:
            watched = watched.restarted()
    for name, flow_id, now in watched.look(WELL, times=2 * LONG):
        assert (now, told[name, flow_id]) == ("recovered", "raised")
        told[name, flow_id] = now
    assert set(told.values()) <= {"recovered"}
