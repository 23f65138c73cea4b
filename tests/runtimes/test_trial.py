"""Test records: one, marked, past everything that is counted; and what is said when it was not taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headrace.bootstrap.acting import acting
from headrace.consumer import Deduplicator
from headrace.core.flow import CompiledFlow, Consent
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.trial import IDENTITY, send_test
from headrace.state.keys import LEDGER
from tests.runtimes.living import live, quiet
from tests.runtimes.road import KEYS, MemoryDisk, Road, flow, members, refuse, snapshot

WIDE = flow(paths=("person.name.lastName", "n", "['a.b'].c"))


def asked(**arguments: Any) -> Callable[[Engine], Any]:
    """Ask for a test record as the socket does."""
    return lambda engine: acting(engine._state, KEYS, engine)["send-test"](arguments)


def sent(compiled: CompiledFlow, **arguments: Any) -> tuple[Road, Any, dict[str, Any]]:
    """The road, the answer and the message, of one test record of an engine without profiles."""
    road = quiet(MemoryDisk(), [], snapshot(compiled))
    answer = live(road, asked(flow="f", **arguments))[0]
    (data,) = road.arrived()
    return road, answer, msgspec.json.decode(data)


def test_a_test_record_is_written_and_told_where() -> None:
    """One record, whose message has everything that is mapped and the mark."""
    road, answer, message = sent(WIDE)
    assert (answer.outcome, answer.shard, answer.sequence) == ("delivered", "shardId-000000000000", "1")
    assert answer.marker == "_headrace.cause.kind: test"
    assert message["_headrace"]["cause"]["kind"] == "test"
    assert message["person"] == {"name": {"lastName": "test"}}
    assert (message["n"], message["a.b"]) == ("test", {"c": "test"})
    assert message["segmentMembership"]["ups"]["vip"]["status"] == "realized"
    assert message["identityMap"] == {"ecid": [{"id": IDENTITY}]}
    assert road.stream("f").accepted[0].key == IDENTITY


@pytest.mark.parametrize("metadata", [True, False])
def test_it_has_a_whole_block_which_consumers_read(metadata: bool) -> None:
    """Whatever the flow's setting, it is neither a repeat nor late, and says that it is a test."""
    road = quiet(MemoryDisk(), [], snapshot(flow(metadata=metadata)))
    once = lambda engine: send_test(engine, "f", clock=road.clock)  # noqa: E731 - a list of acts
    live(road, once, lambda _: road.clock.advance(1), once)
    seen = Deduplicator()
    taken = [seen.take(data) for data in road.arrived()]
    assert [(each.is_test, each.is_repeat, each.is_late, each.gap) for each in taken] == [
        (True, False, False, 0)
    ] * 2  # fmt: skip


def test_nothing_of_it_is_counted_kept_or_in_the_way() -> None:
    """Totals, ledger, journal and state are what they were, and what flows flows on."""
    road = quiet(MemoryDisk(), members(20, 5))
    stored: list[Any] = []
    look: Callable[[Engine], None] = lambda engine: stored.append(  # noqa: E731 - a list of acts
        (msgspec.to_builtins(engine.totals), list(engine._state.scan(*KEYS.space(LEDGER))))
    )
    live(road, look, asked(flow="f"), look)
    assert stored[0] == stored[1]
    assert road.engine.totals.flows["f"].delivered == 20
    assert len(road.arrived()) == 21


def test_a_paused_flow_and_one_that_asks_for_consent_send_one_too() -> None:
    """It is not an export: neither holds it back."""
    for each in (flow(paused=True), flow(consent=Consent(("c",), (True,)), trigger_segment=False)):
        assert sent(each)[1].outcome == "delivered"


def test_a_message_that_is_given_is_marked_and_otherwise_as_it_is() -> None:
    """Whatever it says of itself."""
    _, _, message = sent(flow(), message={"person": {"n": 1}, "_headrace": {"cause": {"kind": "live"}}})
    assert message.pop("_headrace")["cause"]["kind"] == "test"
    assert message == {"person": {"n": 1}}


@pytest.mark.parametrize(
    ("verdict", "then"),
    [
        (Verdict.RETRY, "Nothing was written; try again"),
        (Verdict.UNKNOWN, "look into the stream"),
        (Verdict.REJECTED, "would become a dead letter"),
        (Verdict.HALT, "wait until this is mended"),
        (Verdict.SPLIT, "would become a dead letter"),
    ],
)
def test_a_refusal_says_what_was_answered_and_what_to_do(verdict: Verdict, then: str) -> None:
    """It is sent once, whatever the answer."""
    road = quiet(MemoryDisk(), [])
    refuse(road, Rule(verdict, code="AccessDenied", detail="add the permission", times=None))
    with pytest.raises(RefusedError, match=f"AccessDenied: add the permission.*{then}"):
        live(road, asked(flow="f"))
    assert len(road.stream("f").attempts) == 1


def test_what_is_wrong_is_said_before_anything_is_sent() -> None:
    """An unknown flow, a message that is none, one too large."""
    road = quiet(MemoryDisk(), [], limits=Limits(record_bytes=100))
    for given, words in (
        ({"flow": "x"}, "there is no flow x \\(allowed: f\\)"),
        ({"flow": "f", "message": "no"}, "message"),
        ({}, "flow"),
        ({"flow": "f"}, "the destination takes 100"),
    ):
        with pytest.raises(RefusedError, match=words):
            live(road, asked(**given))
    assert road.stream("f").attempts == []


def test_nobody_sends_one_when_no_engine_runs() -> None:
    """It says how to start one."""
    with pytest.raises(RefusedError, match="headrace serve"):
        acting(MemoryDisk().open(), KEYS, None)["send-test"]({"flow": "f"})
