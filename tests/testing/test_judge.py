"""The judge: what it finds in recordings that were spoilt on purpose, and that it finds nothing else."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.testing.judge import Join, Verdict, content, export_id, judge, whole
from headrace.testing.recording import Written


def record(data: bytes, stream: str = "s") -> Written:
    return Written(0, 0, 0, stream, "", "", "", data)


def verdict_of(expected: dict[str, list[str]], received: str, **more: Any) -> Verdict:
    """Judge one stream whose messages are single letters."""
    wanted: dict[str, list[bytes]] = {p: [m.encode() for m in ms] for p, ms in expected.items()}
    return judge({"s": wanted}, [record(letter.encode()) for letter in received], identify=whole, **more)


def found(verdict: Verdict) -> dict[str, int]:
    names = ("lost", "unexpected", "duplicates", "disorder", "broken_replays")
    return {name: getattr(verdict, name).count for name in names if getattr(verdict, name).count}


@pytest.mark.parametrize(
    ("received", "wanted"),
    [
        ("abcd", {}),
        ("acbd", {}),  # c is another profile's
        ("abd", {"lost": 1}),
        ("abdx", {"lost": 1, "unexpected": 1}),
        ("badc", {"disorder": 1}),
        ("dbac", {"disorder": 2}),
        ("abbcd", {"duplicates": 1}),
        ("abdabdc", {"duplicates": 3}),
        ("abcdbd", {"duplicates": 2}),
        ("abcdb", {"duplicates": 1, "broken_replays": 1}),  # ends on an old message
        ("abcdad", {"duplicates": 2, "broken_replays": 1}),  # a replay without b
        ("abacd", {"duplicates": 1, "broken_replays": 1}),  # a came late, out of the blue
        ("", {"lost": 4}),
    ],
)
def test_findings(received: str, wanted: dict[str, int]) -> None:
    """Each way of spoiling a recording is found, and counted as what it is."""
    verdict = verdict_of({"p": ["a", "b", "d"], "q": ["c"]}, received)
    assert found(verdict) == wanted
    assert verdict.ok == (not {"lost", "unexpected", "disorder"} & set(wanted))


def test_examples_say_where() -> None:
    """A finding names stream, profile, message, its place, and the record's place; ten at most."""
    verdict = verdict_of({"p": ["a", "b"]}, "b" + "a" + "x" * 50)
    (example,) = verdict.disorder.examples
    assert example == ("s", "p", b"a", 0, 1)
    assert verdict.unexpected.count == 50
    assert len(verdict.unexpected.examples) == 10
    assert "50 unexpected" in str(verdict)


def test_messages_alike_are_counted() -> None:
    """Of messages that are the same bytes, each must be received once."""
    expected = {"p": ["a", "b", "a", "a"]}
    assert found(verdict_of(expected, "abaa")) == {}
    assert found(verdict_of(expected, "aba")) == {"lost": 1}
    assert found(verdict_of(expected, "abaaa")) == {"duplicates": 1}


def test_streams_are_judged_apart() -> None:
    """The same message in another stream is unexpected there."""
    verdict = judge({"s": {"p": [b"a"]}, "t": {"p": [b"a"]}}, [record(b"a", "s"), record(b"a", "u")], identify=whole)
    assert found(verdict) == {"lost": 1, "unexpected": 1}


def test_a_merge_waits_for_the_absorbed() -> None:
    """After a merge the survivor's messages come after the absorbed profile's."""
    expected = {"old": ["a", "d"], "new": ["b", "c"], "none": []}
    joins = {"s": [Join("new", "old", 1), Join("none", "old", 1), Join("gone", "old", 1), Join("new", "old", 2)]}
    assert found(verdict_of(expected, "abcd", joins=joins)) == {}
    assert found(verdict_of(expected, "abdc", joins=joins)) == {"disorder": 1}
    assert found(verdict_of(expected, "abd", joins=joins)) == {"lost": 1}


def test_identities() -> None:
    """A message is known by its export id, or by what it says whatever the order of its keys."""
    message = {"a": 1, "b": {"c": 2}, "_headrace": {"exportId": "7f"}}
    turned = {"_headrace": {"exportId": "80", "seq": 3}, "b": {"c": 2}, "a": 1}
    assert export_id(msgspec.json.encode(message)) == "7f"
    assert export_id(b'{"a":1}') is None
    assert export_id(b"no json") is None
    assert content(msgspec.json.encode(message)) == content(msgspec.json.encode(turned))
    assert content(b'{"a":2}') != content(b'{"a":1}')
    assert content(b"[1]") is None
    assert found(judge({"s": {"p": ["7f"]}}, [record(b"no json"), record(msgspec.json.encode(message))])) == {
        "unexpected": 1
    }


@given(st.data())
def test_replays_after_crashes_are_allowed(data: st.DataObject) -> None:
    """A sender that goes back to any earlier place and on from there is found right, its repeats counted."""
    profiles = {f"p{n}": [f"{n}/{i}" for i in range(data.draw(st.integers(0, 6)))] for n in range(3)}
    received: list[str] = []
    repeats = 0
    for messages in profiles.values():
        at = highest = 0
        while at < len(messages):
            received.append(messages[at])
            repeats += at < highest
            at += 1
            highest = max(highest, at)
            if len(received) < 60 and data.draw(st.booleans()):
                at -= data.draw(st.integers(0, at))
    verdict = judge({"s": profiles}, [record(m.encode()) for m in received], identify=bytes.decode)
    assert found(verdict) == ({"duplicates": repeats} if repeats else {})


@given(st.permutations(range(7)))
def test_disorder_is_what_arrives_under_the_highest(order: list[int]) -> None:
    """A message counts as out of order when one behind it was there before; checked against the definition."""
    verdict = judge(
        {"s": {"p": [bytes((n,)) for n in range(7)]}}, [record(bytes((n,))) for n in order], identify=whole
    )
    late = sum(any(earlier > n for earlier in order[:at]) for at, n in enumerate(order))
    assert verdict.disorder.count == late


@pytest.mark.slow
def test_a_million_records() -> None:
    """A million messages of 100,000 profiles, interleaved, with one lost, one repeated and one swapped pair."""
    chance = random.Random(5)
    queues = {p: [f"{p}/{i}" for i in range(10)] for p in range(100_000)}
    order = [p for p in queues for _ in range(10)]
    chance.shuffle(order)
    places = dict.fromkeys(queues, 0)
    received = []
    for p in order:
        received.append(queues[p][places[p]])
        places[p] += 1
    first, second = (at for at, p in enumerate(order) if p == 77 and received[at] in ("77/3", "77/4"))
    received[first], received[second] = received[second], received[first]
    received.remove("5/9")
    received.append("9/9")
    verdict = judge({"s": queues}, (record(m.encode()) for m in received), identify=bytes.decode)
    assert found(verdict) == {"lost": 1, "duplicates": 1, "disorder": 1}
    assert verdict.expected == verdict.records == 1_000_000
