"""Exports that wait, as C has them and as Python has them: the same of each, and of many at once.

Where C is not compiled there is nothing to compare: ``make test-compiled`` runs these.
"""

from __future__ import annotations

import gc
import importlib.util
import weakref
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import msgspec
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import plain
from headrace.core.export import bucket_of
from headrace.core.model import Cause, Export
from headrace.destinations import pending as as_compiled
from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.block import Block
from headrace.destinations.kinesis.encoder import JsonEncoding

pytestmark = pytest.mark.skipif(not plain.COMPILED, reason="C is not compiled")


def in_python() -> ModuleType:
    """The module, without C."""
    spec = importlib.util.find_spec("headrace.destinations.pending")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "COMPILED", False)
        spec.loader.exec_module(module)
    return module


PYTHON = in_python()
HEX = "0123456789abcdef"

IDS = st.sampled_from([HEX * 2, "f" * 32, "", "odd", "é" * 32, "F" * 32, "0" * 31, "0" * 33, " " * 32])
KEYS = st.sampled_from(["", "k", "é", "😀" * 3, HEX * 2, '"\\\n\x00\x7f', "x" * 256])
CAUSES = st.sampled_from([
    Cause("live"), Cause("live", ["attribute"], ["a"]), Cause("backfill", joined=["ups/a"]),
    Cause("live", left=["b/c"]),
])  # fmt: skip
OUTCOMES = st.none() | st.builds(
    Outcome, shard=st.sampled_from(["", "s-0", "s-1"]), sequence=st.sampled_from(["", "1", "2" * 56]),
    code=st.sampled_from(["", "bad"]), verdict=st.sampled_from(list(Verdict)),
)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 255, 2**31, 2**53])


@st.composite
def exports(draw: st.DrawFn) -> Export:
    return Export(
        draw(NUMBERS), draw(IDS), draw(IDS), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), draw(KEYS),
        draw(st.binary(max_size=9)), draw(CAUSES), draw(st.sampled_from([5, 6])), draw(st.sampled_from(["v", "w"])),
        draw(st.sampled_from([[], [(1, 2)]])),
    )  # fmt: skip


MEMBERS = [
    "ordinal",
    "lane",
    "export_id",
    "seq",
    "version",
    "epoch",
    "key",
    "message",
    "cause",
    "made_ms",
    "config",
    "after",
    "bucket",
    "data",
    "size",
    "kept",
    "index",
    "attempts",
    "unknown",
    "outcome",
    "discarded",
    "behind",
    "last",
    "export",
]


def shown(p: Any) -> list[Any]:
    """All that a record shows of itself; others by their ordinal."""
    found = [getattr(p, name) for name in MEMBERS]
    return [value.ordinal if hasattr(value, "attempts") else value for value in found]


def both(made: Sequence[tuple[Export, int]]) -> list[tuple[ModuleType, list[Any]]]:
    return [(module, [module.Pending(*one) for one in made]) for module in (as_compiled, PYTHON)]


def same(made: Sequence[tuple[Export, int]], ask: Callable[[ModuleType, list[Any]], Any]) -> Any:
    """What C and Python answer, which is the same; and leave, which is too."""
    answers = []
    for module, waiting in both(made):
        answer = ask(module, waiting)
        answers.append((answer, [shown(p) for p in waiting]))
    assert answers[0] == answers[1]
    return answers[0][0]


def ordinals(found: Sequence[Any]) -> list[int]:
    return [p.ordinal for p in found]


MANY = st.lists(st.tuples(exports(), st.integers(0, 3)), max_size=12)


@given(MANY)
def test_those_of_a_block(made: list[tuple[Export, int]]) -> None:
    def ask(module: ModuleType, _: list[Any]) -> Any:
        block = Block(7, [export.ordinal for export, _ in made])
        found = [module.pending(export, block, index) for index, (export, _) in enumerate(made)]
        assert all(p.block is block for p in found)
        return [shown(p) for p in found]

    same(made, ask)


def test_they_are_two_classes() -> None:
    assert as_compiled.Pending is not PYTHON.Pending
    assert as_compiled.sizes is not PYTHON.sizes


@given(exports(), st.integers(0, 63))
def test_one_shows_the_same(export: Export, bucket: int) -> None:
    same([(export, bucket)], lambda _, waiting: waiting[0].export == export)


@given(exports(), OUTCOMES)
def test_what_is_written_on_one_is_read_of_it(export: Export, outcome: Outcome | None) -> None:
    def write(module: ModuleType, waiting: list[Any]) -> Any:
        p, block = waiting[0], Block(1, [export.ordinal])
        p.behind = p.last = module.Pending(export, 1)
        p.block, p.index, p.outcome, p.discarded = block, 3, outcome, "profile-deleted"
        p.attempts += 2
        p.unknown += 1
        module.prepared([p], lambda data: data + b"!")
        p.behind.behind = None
        return p.block is block, p.behind is p.last, p.message == export.data, p.data == export.data + b"!"

    assert same([(export, 1)], write) == (True, True, True, True)


@given(MANY, st.integers(0, 300), st.integers(0, 300))
def test_sizes(made: list[tuple[Export, int]], most: int, chars: int) -> None:
    def ask(module: ModuleType, waiting: list[Any]) -> Any:
        before = module.sizes(waiting)
        module.prepared(waiting[::2], lambda data: data[:1])
        return before, module.sizes(waiting), module.sizes(tuple(waiting)), module.fit(waiting, most, chars)

    same(made, ask)


@given(MANY)
def test_blocks(made: list[tuple[Export, int]]) -> None:
    def ask(module: ModuleType, waiting: list[Any]) -> Any:
        found = module.grouped(waiting, msgspec.msgpack.encode)
        for bucket, run, numbers, stored in found:
            assert stored == msgspec.msgpack.encode([p.export for p in run])
            block = Block(bucket, numbers)
            module.lie_in(run, block)
            assert all(p.block is block for p in run)
        blocks = [(block.bucket, block.ordinals) for block in module.blocks_of(waiting)]
        size = module.settle(waiting)
        return (
            [(bucket, ordinals(run), numbers) for bucket, run, numbers, _ in found],
            blocks,
            size,
            [p.block.bits for p in waiting],
        )

    same(made, ask)


def test_blocks_of_every_size() -> None:
    export = Export(1, HEX * 2, HEX * 2, 1, 1, 1, "k", b"{}", Cause("live"), 5, "v")
    for count in (1, 15, 16, 65_535, 65_536):
        ((_, _, numbers, stored),) = as_compiled.grouped(
            [as_compiled.Pending(export, 2) for _ in range(count)], msgspec.msgpack.encode
        )
        assert len(numbers) == count
        assert stored == msgspec.msgpack.encode([export] * count)


@given(MANY, st.data())
def test_answers(made: list[tuple[Export, int]], data: st.DataObject) -> None:
    rounds = data.draw(st.lists(st.lists(OUTCOMES, min_size=len(made), max_size=len(made)), max_size=3))
    discarded = data.draw(st.lists(st.integers(0, 11), max_size=2))

    def ask(module: ModuleType, waiting: list[Any]) -> Any:
        found: list[Any] = [
            ordinals(module.answered(waiting, [o or Outcome() for o in outcomes])) for outcomes in rounds
        ]
        for p in waiting:
            if p.ordinal % 12 in discarded:
                p.outcome, p.discarded = None, "profile-deleted"
        size, others = module.unusual(waiting)
        runs, crossing = module.made_at(waiting)
        found += [size, ordinals(others), runs, ordinals(crossing), module.ledger_columns(waiting)]
        return found

    same(made, ask)


@given(st.lists(st.tuples(exports(), st.integers(0, 3)), min_size=1, max_size=12))
def test_a_request_in_json(made: list[tuple[Export, int]]) -> None:
    records = [as_compiled.Pending(*one) for one in made]
    body = JsonEncoding("é").put_records(records)
    assert body == JsonEncoding("é").put_records([export for export, _ in made])
    assert msgspec.json.decode(body)["Records"] == [
        {"Data": pybase64.b64encode(export.data).decode(), "PartitionKey": export.key} for export, _ in made
    ]


@given(st.text(max_size=300).filter(lambda text: text.isprintable() or not text))
def test_the_bucket_of_a_key_is_that_of_its_md5(key: str) -> None:
    assert plain.NATIVE.bucket_of(key) == bucket_of(key)


@pytest.mark.parametrize("size", [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000])
def test_the_bucket_of_keys_about_a_block_long(size: int) -> None:
    for sign in "xyz":
        assert plain.NATIVE.bucket_of(sign * size) == bucket_of(sign * size)


def test_what_is_no_list_of_exports_is_refused() -> None:
    p = as_compiled.Pending(Export(1, "p", "e", 1, 1, 1, "k", b"", Cause("live"), 1, "v"), 1)
    native = plain.NATIVE
    for ask in (native.sizes, native.settle, native.blocks_of, native.columns, native.unusual, native.made_at,
                native.ledger_columns, native.padded):  # fmt: skip
        for wrong in (None, [1], [p, None], iter([p])):
            with pytest.raises(TypeError, match="exports that wait"):
                ask(wrong)
    with pytest.raises(ValueError, match="outcome for each"):
        native.answered([p], [])
    with pytest.raises(ValueError, match="in no block"):
        native.settle([p])
    with pytest.raises(ValueError, match="no such bucket"):
        native.grouped([as_compiled.Pending(p.export, 256)], msgspec.msgpack.encode)
    held = [p]
    with pytest.raises(TypeError, match="no bytes"):
        native.grouped(held, lambda export: held.clear())
    assert held == []
    with pytest.raises(ValueError, match="not the data"):
        native.json_body(b"", [p], b"AAAA")
    with pytest.raises(TypeError, match="takes an export"):
        as_compiled.Pending("export", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes an export"):
        as_compiled.Pending(msgspec.structs.replace(p.export, data="text"), 1)
    with pytest.raises(TypeError, match="an export, a block and an index"):
        native.pending(p.export)
    with pytest.raises(TypeError):
        p.discarded = None  # type: ignore[assignment]
    with pytest.raises(TypeError, match="bytes"):
        p.data = bytearray(b"x")  # type: ignore[assignment]
    with pytest.raises(TypeError, match="bytes"):
        del p.data
    with pytest.raises(TypeError, match="is an export"):
        p.behind = "export"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="is an export"):
        p.last = held  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        p.ordinal = 2


def test_a_long_lane_is_let_go_of() -> None:
    """Each holds the next: freed one within the other, so many would overflow the stack."""
    export = Export(1, "p", "e", 1, 1, 1, "k", b"", Cause("live"), 1, "v")
    head = last = as_compiled.Pending(export, 1)
    for _ in range(300_000):
        last.behind = as_compiled.Pending(export, 1)
        last = last.behind
    head.last = last
    kept = last
    del head, last
    gc.collect()
    assert kept.behind is None


def test_what_one_holds_is_let_go_of() -> None:
    class Held:
        bucket = 1

    held = Held()
    gone = weakref.ref(held)
    p = as_compiled.Pending(Export(1, "p", "e", 1, 1, 1, "k", b"", Cause("live"), 1, "v"), 1)
    p.block = held  # type: ignore[assignment]
    del held
    assert gone() is not None
    del p
    assert gone() is None
