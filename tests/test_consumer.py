"""What a consumer is told of each message, checked against what it was really given."""

from __future__ import annotations

import ast
import gzip
import inspect
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from headrace import consumer
from headrace.consumer import (
    HOLES,
    MOST_BYTES,
    Deduplicator,
    MessageError,
    NoMetadataError,
    SnapshotError,
    Taken,
    read,
)  # fmt: skip
from headrace.core.message import metadata_part
from headrace.core.model import Cause, Export
from tests.core.driving import Profiles, flow, snapshot, update

JOIN = {"vip": "realized"}


def record(seq: int, profile: str = "p", *, flow_id: str = "f", epoch: int = 1, salt: str = "") -> bytes:
    """A message whose block the core itself renders."""
    block = metadata_part(
        flow_id=flow_id, profile_id=profile, export_id=f"{flow_id}/{profile}/{epoch}/{seq}{salt}", seq=seq,
        version=seq, epoch=epoch, config="c", cause=Cause("live"),
    )  # fmt: skip
    return b'{"identityMap":{"ecid":[{"id":"1"}]},"_headrace":' + block + b"}"


def told(taken: Taken) -> tuple[bool, bool, int, bool]:
    return taken.is_repeat, taken.is_late, taken.gap, taken.is_first


NEW, REPEAT, FIRST, LATE = (
    (False, False, 0, False), (True, False, 0, False), (False, False, 0, True), (False, True, 0, False),
)  # fmt: skip


# -- one message ----------------------------------------------------------------------------------


def test_a_message_of_the_core_is_read_whole() -> None:
    """The block becomes typed, the message is what was sent without it."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",), metadata=True)))
    profiles.apply(update("A:1", into=JOIN, x=1), update("B:1", into=JOIN), update("A:1", "B:1", x=5))
    export = profiles.exports["f"][-1]
    message, block = read(export.data)
    assert message == {key: part for key, part in msgspec.json.decode(export.data).items() if key != "_headrace"}
    assert (block.export_id, block.flow_id, block.profile_id) == (export.export_id, "f", export.profile_id)
    assert (block.epoch, block.seq, block.profile_version) == (export.epoch, export.seq, export.version)
    assert block.configuration == export.config
    assert msgspec.to_builtins(block.cause) == {
        name: part if isinstance(part, str) else tuple(part)
        for name, part in msgspec.to_builtins(msgspec.structs.asdict(export.cause)).items()
        if name != "absorbed"
    }
    taken = Deduplicator().look(export.data)
    assert (taken.message, taken.metadata, taken.absorbed) == (message, block, (profiles.born[1],))


def test_a_message_without_the_block_is_refused_with_what_to_do() -> None:
    """Without metadata nothing can be told, and the words name the setting."""
    profiles = Profiles(snapshot(flow("vip")))
    profiles.apply(update("A:1", into=JOIN))
    with pytest.raises(NoMetadataError, match="set metadata: true in the flow's settings"):
        Deduplicator().take(profiles.exports["f"][0].data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"_headrace":', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"_headrace":7}', "not Headrace's"),
        (b'{"_headrace":{"exportId":"x"}}', "flowId"),
        (record(0), "seq begins at 1"),
        (gzip.compress(record(1))[:-9], "cut off"),
        (b"\x1f\x8bnot really", "not gzip"),
        (gzip.compress(b" " * (MOST_BYTES + 1)), f"over {MOST_BYTES} bytes"),
        (zstandard.compress(record(1)), "decompress it first"),
        (b"\xf3\x89\x9a\xc2\x0a\x01", "as the KCL does"),
    ],
)
def test_what_is_no_message_is_refused_and_changes_nothing(data: bytes, words: str) -> None:
    """Whatever the bytes are, one error type says what they are; what is remembered stays as it was."""
    seen = Deduplicator()
    seen.take(record(1))
    before = seen.snapshot()
    with pytest.raises(MessageError, match=words):
        seen.take(data)
    assert seen.snapshot() == before


def test_errors_hold_no_values() -> None:
    """A profile's values appear in no error."""
    with pytest.raises(MessageError) as caught:
        read(b'{"email":"ada@example.com","_headrace":{"exportId":"ada@example.com","flowId":1}}')
    assert "ada" not in str(caught.value)


def test_gzip_is_read_as_it_is() -> None:
    """A compressed record is the same message."""
    seen = Deduplicator()
    seen.take(record(1))
    assert told(seen.look(gzip.compress(record(1)))) == REPEAT


def test_fields_of_a_later_version_are_ignored() -> None:
    """The block may grow."""
    message = msgspec.json.decode(record(1))
    message["_headrace"]["new"] = {"x": 1}
    assert read(msgspec.json.encode(message))[1] == read(record(1))[1]


# -- one profile ----------------------------------------------------------------------------------


def test_repeats_and_gaps_of_one_profile() -> None:
    """First, next, repeat, gap, late arrival into the gap, its repeat."""
    seen = Deduplicator()
    given_ = (1, 2, 2, 1, 5, 4, 4, 3, 3, 5, 6)
    assert [told(seen.take(record(seq))) for seq in given_] == [
        FIRST, NEW, REPEAT, REPEAT, (False, False, 2, False), LATE, REPEAT, LATE, REPEAT, REPEAT, NEW,
    ]  # fmt: skip


def test_a_consumer_that_joins_in_the_middle_is_told_so() -> None:
    """What came before its first message is neither a gap nor a repeat."""
    seen = Deduplicator()
    assert [told(seen.take(record(seq))) for seq in (7, 8, 6, 6, 7)] == [FIRST, NEW, LATE, REPEAT, REPEAT]


def test_n1_another_message_in_the_same_place_is_no_repeat() -> None:
    """Where the writer's state was restored, a place may hold another message than the one kept."""
    seen = Deduplicator()
    assert [told(seen.take(record(1, salt=salt))) for salt in ("", "other", "other")] == [FIRST, NEW, REPEAT]


def test_flows_profiles_and_epochs_are_apart() -> None:
    """Each counts for itself, on one stream too; a profile deleted and made again begins anew."""
    seen = Deduplicator()
    for other in ({}, {"flow_id": "g"}, {"profile": "q"}, {"epoch": 9}):
        assert [told(seen.take(record(seq, **other))) for seq in (1, 2)] == [FIRST, NEW]
    assert told(seen.take(record(3))) == NEW


def test_n6_what_fails_to_be_applied_comes_again_as_new() -> None:
    """Looking remembers nothing: until it is kept, a message is new."""
    seen = Deduplicator()
    seen.take(record(1))
    before = seen.snapshot()
    assert [told(seen.look(record(seq))) for seq in (2, 3, 2, 1)] == [NEW, (False, False, 1, False), NEW, REPEAT]
    assert seen.snapshot() == before
    seen.keep(seen.look(record(2)))
    assert told(seen.look(record(2))) == REPEAT


# -- whole streams --------------------------------------------------------------------------------


class Lane(NamedTuple):
    """What one flow sends about one profile and epoch, in order."""

    key: tuple[str, str, int]
    exports: list[Export]


def lanes(choices: Iterable[int]) -> list[Lane]:
    """What two flows send about a few people whose devices are linked now and then, so that profiles merge."""
    paths = ("x",)
    profiles = Profiles(
        snapshot(flow("vip", paths=paths, metadata=True), flow("vip", id="g", paths=paths, metadata=True))
    )
    for place, choice in enumerate(choices):
        person, what = divmod(choice % 24, 6)
        ids = [f"A:{person}"] if what < 3 else [f"B:{person}"] if what < 5 else [f"A:{person}", f"B:{person}"]
        profiles.apply(update(*ids, into=JOIN if what % 2 else None, x=place))
    found: dict[tuple[str, str, int], list[Export]] = {}
    for flow_id, exports in profiles.exports.items():
        for export in exports:
            found.setdefault((flow_id, export.profile_id, export.epoch), []).append(export)
    return [Lane(key, exports) for key, exports in found.items()]


class Reader:
    """A consumer, and beside it a plain record of what it kept: the answers are checked against that."""

    def __init__(self, most: int = 100_000) -> None:
        self.seen = Deduplicator(most)
        self.kept: dict[tuple[str, str, int], list[int]] = {}
        self.ids: set[str] = set()
        self.absorbed: list[str] = []

    def give(self, export: Export, flow_id: str, *, exact: bool = True) -> Taken:
        """Give it one record; with *exact* every answer is known, else (profiles were forgotten) only N1."""
        taken = self.seen.look(export.data)
        if taken.is_repeat:
            assert export.export_id in self.ids  # N1
        kept = self.kept.setdefault((flow_id, export.profile_id, export.epoch), [])
        if exact:
            highest = max(kept, default=0)
            assert taken.is_repeat == (export.export_id in self.ids)  # N1, N2
            assert taken.is_first == (not kept)
            assert taken.gap == (export.seq - highest - 1 if kept and export.seq > highest else 0)  # N3
            assert taken.is_late == (bool(kept) and export.seq < highest and not taken.is_repeat)
        if not taken.is_repeat:
            kept.append(export.seq)
            self.absorbed += taken.absorbed
        self.ids.add(export.export_id)
        self.seen.keep(taken)
        assert len(self.seen) <= self.seen.most  # N4
        return taken


HISTORY = st.lists(st.integers(0, 23), min_size=1, max_size=60)
MOVES = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 4)), max_size=120)


def delivered(history: list[int], moves: list[tuple[int, int]]) -> list[tuple[str, Export]]:
    """What a stream receives of the writer: lanes in any interleaving, each in order; a restart begins again up to
    four messages before, in order. In the end everything was sent."""
    made = lanes(history)
    at = [0] * len(made)
    stream: list[tuple[str, Export]] = []
    for chosen, back in [*moves, *((n, 0) for n in range(len(made)) for _ in range(200))]:
        place = chosen % len(made) if made else 0
        if not made or (at[place] == len(made[place].exports) and not back):
            continue
        at[place] = max(0, at[place] - back)
        key, exports = made[place]
        stream.append((key[0], exports[at[place]]))
        at[place] += 1
    return stream


@given(HISTORY, MOVES)
def test_n1_n2_n3_replayed_suffixes_are_dropped_and_nothing_else(
    history: list[int], moves: list[tuple[int, int]]
) -> None:
    """At least once, in order per profile: every message is applied exactly once, in order, and no gap is seen."""
    reader = Reader()
    applied: dict[tuple[str, str, int], list[str]] = {}
    for flow_id, export in delivered(history, moves):
        taken = reader.give(export, flow_id)
        assert not taken.gap
        assert not taken.is_late
        if not taken.is_repeat:
            applied.setdefault((flow_id, export.profile_id, export.epoch), []).append(export.export_id)
    assert applied == {lane.key: [e.export_id for e in lane.exports] for lane in lanes(history)}


@given(HISTORY)
def test_merges_are_told_once_a_flow(history: list[int]) -> None:
    """Every profile that a flow wrote about and that was absorbed is named by one message of that flow."""
    reader = Reader()
    made = lanes(history)
    for flow_id, export in delivered(history, [(n, 2) for n in range(40)]):
        reader.give(export, flow_id)
    told_of = [absorbed for lane in made for export in lane.exports for absorbed in export.cause.absorbed]
    assert sorted(reader.absorbed) == sorted(told_of)
    for flow_id in ("f", "g"):
        of_flow = [a for lane in made if lane.key[0] == flow_id for e in lane.exports for a in e.cause.absorbed]
        assert len(of_flow) == len(set(of_flow))


@given(HISTORY, MOVES, st.sets(st.integers(0, 200)))
def test_n3_what_never_came_is_a_gap(history: list[int], moves: list[tuple[int, int]], lost: set[int]) -> None:
    """Messages that the writer had to give up (dead letters) are counted by the next one about the profile."""
    stream = delivered(history, moves)
    numbers: dict[str, int] = {}
    for _, export in stream:
        numbers.setdefault(export.export_id, len(numbers))
    reader = Reader()
    gaps = 0
    for flow_id, export in stream:
        if numbers[export.export_id] not in lost:
            gaps += reader.give(export, flow_id, exact=len(_ranges(reader.kept, flow_id, export)) <= HOLES).gap
    assert gaps == sum(
        seq not in kept for kept in reader.kept.values() for seq in range(min(kept, default=0), max(kept, default=0))
    )


def _ranges(kept: dict[tuple[str, str, int], list[int]], flow_id: str, export: Export) -> list[int]:
    """Where the ranges of missing messages of a profile begin."""
    seqs = {0, *kept.get((flow_id, export.profile_id, export.epoch), [])}
    return [seq + 1 for seq in seqs if seq + 1 not in seqs and seq != max(seqs)]


@given(st.lists(st.integers(1, 12), max_size=60))
def test_n1_n2_any_order_at_all(order: list[int]) -> None:
    """Without order (``ordering: none``) repeats are still told from what comes late."""
    exports = [Export(n, "p", f"f/p/1/{n}", n, n, 1, "p", record(n), Cause("live"), 0, "c") for n in range(1, 13)]
    reader = Reader()
    for seq in order:
        reader.give(exports[seq - 1], "f", exact=len(_ranges(reader.kept, "f", exports[seq - 1])) <= HOLES)


@given(st.permutations(range(1, 61)))
def test_n1_n4_beyond_the_holes_nothing_new_is_dropped(order: list[int]) -> None:
    """More ranges are missing than are remembered: repeats may pass, but all that is new is let through."""
    seen = Deduplicator()
    for seq in order:
        assert not seen.take(record(seq)).is_repeat
        assert all(len(mark.missing) <= HOLES for mark in seen._marks.values())


@given(HISTORY, MOVES, st.integers(1, 4))
def test_n1_n4_forgotten_profiles_pass_as_first(history: list[int], moves: list[tuple[int, int]], most: int) -> None:
    """With too little memory repeats may pass, but nothing new is dropped and memory keeps to its bound."""
    reader = Reader(most)
    stream = delivered(history, moves)
    taken = [reader.give(export, flow_id, exact=False) for flow_id, export in stream]
    passed = {t.metadata.export_id for t in taken if not t.is_repeat}
    assert passed == {export.export_id for _, export in stream}


def test_n4_who_was_longest_not_heard_of_is_forgotten_first() -> None:
    """A repeat counts as hearing of somebody: replayed profiles are the ones that matter."""
    seen = Deduplicator(most=2)
    for profile in ("a", "b", "a", "c"):
        seen.take(record(1, profile))
    assert [told(seen.look(record(1, profile))) for profile in ("a", "b", "c")] == [REPEAT, FIRST, REPEAT]


@given(HISTORY, MOVES, st.integers(0, 100), st.integers(1, 50))
def test_n5_a_restored_one_goes_on_as_if_nothing_had_happened(
    history: list[int], moves: list[tuple[int, int]], cut: int, most: int
) -> None:
    """Wherever the consumer stops and starts again from its snapshot, the answers are the same."""
    stream = delivered(history, moves)
    one, other = Deduplicator(most), Deduplicator(most)
    for place, (_, export) in enumerate(stream):
        if place == cut:
            other = Deduplicator.restore(other.snapshot())
        assert one.take(export.data) == other.take(export.data)
    assert one.snapshot() == other.snapshot()


# -- snapshots and bounds ---------------------------------------------------------------------------


def test_a_smaller_bound_keeps_who_was_heard_of_last() -> None:
    """A snapshot can be restored with another bound."""
    seen = Deduplicator()
    for profile in "abc":
        seen.take(record(1, profile))
    less = Deduplicator.restore(seen.snapshot(), most=2)
    assert (less.most, len(less)) == (2, 2)
    assert [told(less.look(record(1, profile))) for profile in "abc"] == [FIRST, REPEAT, REPEAT]


@pytest.mark.parametrize("wrong", [b"", b"\x00", b"no", msgspec.msgpack.encode([1, 5, 7]), b"\x93\x01"])
def test_what_is_no_snapshot_is_refused(wrong: bytes) -> None:
    """Any other bytes give one clear error."""
    with pytest.raises(SnapshotError, match="no snapshot"):
        Deduplicator.restore(wrong)


def test_a_newer_snapshot_is_refused() -> None:
    """A format of a later version is named."""
    with pytest.raises(SnapshotError, match="format 2, this module reads 1"):
        Deduplicator.restore(msgspec.msgpack.encode([2, "whatever"]))


def test_a_bound_of_nothing_is_refused() -> None:
    """At least one profile is remembered."""
    with pytest.raises(ValueError, match="most is 0"):
        Deduplicator(0)


def test_n4_a_snapshot_is_small() -> None:
    """A million profiles fit in 40 MB."""
    seen = Deduplicator()
    for number in range(5000):
        seen.take(record(70_000, f"{number:032x}", epoch=2**40 + number))
    size = len(Deduplicator.restore(seen.snapshot()).snapshot()) / 5000
    assert size < 60, size


# -- the file itself --------------------------------------------------------------------------------


def test_the_file_can_be_copied() -> None:
    """It imports the standard library and msgspec, nothing else; nothing that does I/O or reads a clock."""
    tree = ast.parse(inspect.getsource(consumer))
    names: set[Any] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).partition(".")[0])
    assert names <= sys.stdlib_module_names | {"msgspec"}
    assert names.isdisjoint({"os", "time", "random", "socket", "threading", "asyncio", "logging", "datetime"})
