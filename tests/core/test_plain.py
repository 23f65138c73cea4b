"""Plain updates decided by C come to what Python decides, byte for byte: profiles, exports, reasons, counts.

Where C is not compiled there is nothing to compare: `make test-compiled` runs these.
"""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import plain
from headrace.core.flow import PartitionKey, Snapshot
from headrace.core.model import Export, Lifetimes
from headrace.core.times import from_ms
from headrace.destinations.pending import grouped
from headrace.runtimes.embedded.decide import Decider
from headrace.runtimes.embedded.decision import Command
from headrace.sources.base import Batch
from headrace.state import records
from headrace.state.keys import Keys
from headrace.state.memory import MemoryState

from .driving import DAY_MS, KEY, NOW_MS, T1, T2, flow, snapshot, update
from .values import NAMES, PATHS, TIMES

pytestmark = pytest.mark.skipif(not plain.COMPILED, reason="C is not compiled")


class Folder:
    """A state, and a decider over it that has C decide, or not."""

    def __init__(self, config: Snapshot, *, by_c: bool) -> None:
        self.state, self.keys, self.totals = MemoryState(), Keys(), records.Totals()
        self.decider = Decider(self.state, self.keys, config, KEY, dedup_window_ms=1000, cached=3, by_c=by_c)
        self.decider.base_from = 4
        self.next = 1
        self.told: list[Any] = []

    def take(self, bodies: list[bytes], now_ms: int) -> None:
        self.decide([Batch("t", bodies, str, None, lambda _: None)], now_ms)

    def decide(
        self, batches: list[Batch], now_ms: int, commands: Sequence[Command] = (), *,
        repeats: frozenset[int] | None = None,
    ) -> None:  # fmt: skip
        write = self.state.batch()
        made = self.decider.decide(batches, commands, self.next, now_ms, self.totals, write, repeats=repeats)
        exports = [[(p.bucket, p.export) for p in of_flow] for of_flow in made.exports]
        for of_flow in made.exports:
            for bucket, run, ordinals, stored in grouped(of_flow, msgspec.msgpack.encode):
                assert [(p.bucket, p.ordinal) for p in run] == [(bucket, ordinal) for ordinal in ordinals]
                assert stored == msgspec.msgpack.encode([p.export for p in run])
        self.told.append((exports, made.refused, made.discards, made.soonest_ms, made.last, made.journal))
        self.next = made.last + 1
        self.state.commit(write)


def compared(config: Snapshot, history: list[bytes], size: int = 3, first: int = 1) -> list[Export]:
    """Has C and Python decide a history, and holds all that came of it against each other; C's exports."""
    assert plain.plan(config) is not None
    by_c, by_python = Folder(config, by_c=True), Folder(config, by_c=False)
    by_c.next = by_python.next = first
    for at in range(0, len(history), size):
        for folder in (by_c, by_python):
            folder.take(history[at : at + size], NOW_MS + at * DAY_MS)
        assert by_c.told[-1] == by_python.told[-1]
    assert by_c.totals == by_python.totals
    everything = (b"", b"\xff" * 20)
    assert list(by_c.state.scan(*everything)) == list(by_python.state.scan(*everything))
    return [export for told in by_c.told for exports in told[0] for _, export in exports]


SAID = st.recursive(
    st.booleans()
    | st.integers(-2, 200)
    | st.sampled_from([1.0, 0.5, 1e300, 2**63])
    | st.sampled_from(["", "é", '"\n']),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner | st.none(), max_size=2),
    max_leaves=6,
)


@st.composite
def updates(draw: st.DrawFn) -> bytes:
    """An update about one of three people, who are joined now and then."""
    ids = draw(
        st.sampled_from([("ECID:1",), ("ECID:1", "Email:1"), ("Email:1",), ("ECID:2",), ("ECID:3", "Email:1")])
    )
    into = draw(st.dictionaries(st.sampled_from(["vip", "new", "aam/x", "aam/a", "é/b"]),
                                st.sampled_from(["realized", "exited"])
                                | st.tuples(st.sampled_from(["realized", "exited", "existing"]), TIMES)))  # fmt: skip
    fields: dict[str, Any] = draw(
        st.dictionaries(NAMES, SAID | st.none() if draw(st.integers(0, 9)) == 0 else SAID, max_size=3)
    )
    if draw(st.integers(0, 19)) == 0:
        fields["_id"] = draw(st.sampled_from("xy"))
    return update(*ids, into=into, **fields)


@st.composite
def configurations(draw: st.DrawFn) -> Snapshot:
    """Flows that C decides for."""
    keys = st.sampled_from([
        PartitionKey(), PartitionKey("identity", namespace="email"), PartitionKey("attribute", steps=("a", "b")),
        PartitionKey("attribute", steps=("c",)),
    ])  # fmt: skip
    flows = [
        flow(
            *draw(st.lists(st.sampled_from(["vip", "new", "aam/x"]), min_size=1, max_size=3, unique=True)),
            id=flow_id, paths=draw(PATHS), metadata=draw(st.booleans()), trigger_segment=draw(st.booleans()),
            trigger_attribute=draw(st.booleans()), same_value=draw(st.booleans()), partition_key=draw(keys),
            paused=draw(st.integers(0, 5)) == 0, pause_mode="skip",
        )
        for flow_id in draw(st.sampled_from([("f",), ("f", 'é"'), ("f", "g", "h")]))
    ]  # fmt: skip
    made = snapshot(*flows, lifetimes=Lifetimes(exited_days=draw(st.sampled_from([0, 30]))))
    if draw(st.integers(0, 5)) == 0:
        made = msgspec.structs.replace(made, overflowing=frozenset({"f"}))
    return made


@given(
    configurations(),
    st.lists(updates(), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from([1, 120, 250, 65_530, 2**32 - 5]),
)
def test_c_decides_as_python_does(config: Snapshot, history: list[bytes], size: int, first: int) -> None:
    compared(config, history, size, first)


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each update that C has read, whether C decided it too: else Python would be compared with itself."""
    answers: list[bool] = []
    made = plain.Slice

    class Watched:
        def __init__(self, *arguments: Any) -> None:
            self._slice = made(*arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._slice, name)

        def decide(self, at: int, ordinal: int) -> int:
            to: int = self._slice.decide(at, ordinal)
            answers.extend([True] * (to - at))
            with contextlib.suppress(IndexError):  # it is the end
                if self._slice.left(to) is not None:
                    answers.append(False)
            return to

    monkeypatch.setattr(plain, "Slice", Watched)
    return answers


def test_every_sign_is_rendered_as_msgspec_renders_it(decided: list[bool]) -> None:
    text = "".join(map(chr, [*range(0x180), 0x2028, 0xFFFF, 0x10FFFF]))
    config = snapshot(flow("vip", "é\n/x", id='é"\t', paths=("a", "b", "c"), metadata=True))
    signs = update(f"ECID:{text}", into={"vip": "realized", "é\n/x": "realized"}, a=text, b={text: text})
    again = {"ECID": [{"id": text}], "email": [{"id": "1"}]}
    compared(config, [signs, update("Email:1"), msgspec.json.encode({"identityMap": again}), update("Email:1", c=1)])
    assert decided == [True, True]  # Python reads those with signs that are written in no other way than as numbers


def test_values_of_every_size_are_stored_and_rendered_alike(decided: list[bool]) -> None:
    powers = [2**n for n in (5, 7, 8, 15, 16, 31, 32, 62)]
    numbers = [0, 2**63 - 1, *powers, *(n - 1 for n in powers), *(-n for n in powers), *(-n - 1 for n in powers)]
    config = snapshot(flow("vip", id="f" * 300, paths=("a", "b", "c", "wide.n1", "wide.n20", "e"), metadata=True))
    enters = update("ECID:1", into={"vip": "realized"})
    wrote = [
        update(
            "ECID:1", a=numbers, b=[0.0, -0.0, 0.1, 1e15, -123456.789, True, False], c=[None, {"d": None}, [], {}]
        ),
        update("ECID:1", a=["x" * size for size in (0, 1, 31, 32, 255, 256, 65535, 65536)]),
        update("ECID:1", wide={f"n{n}": {"v": n} for n in range(40)}, b=[1] * 16, c=[[1]] * 65536),
        update("ECID:1", wide={f"n{n}": {"v": n} for n in range(30, 50)}, e={f"n{n}": n for n in range(16)}),
    ]
    assert len(compared(config, [enters, *wrote], 2)) == 5
    assert decided == [True] * 5
    beyond = update("ECID:1", a=[2**63, 2**64 - 1, -(2**63)])  # read by Python, rendered by C with what comes next
    compared(config, [enters, beyond, update("ECID:1", b=1)], 1)
    assert decided == [True] * 7


def test_profiles_that_outgrow_c_are_decided_by_python(decided: list[bool]) -> None:
    config = snapshot(flow("vip", "m/s1", paths=("n1.v", "n600")))
    enters = update("ECID:1", into={"vip": "realized"})
    fields: list[dict[str, Any]] = [{f"n{n}": {"v": n} for n in range(at, at + 60)} for at in range(0, 660, 60)]
    wide = [update("ECID:1", **of_one) for of_one in fields]
    members = [update("ECID:1", into={f"m/s{n}": "realized" for n in range(at, at + 60)}) for at in range(0, 660, 60)]
    compared(config, [enters, *wide, update("ECID:1", n1={"v": 0})])
    assert [decided.count(done) for done in (True, False)] == [9, 4]
    decided.clear()
    compared(config, [enters, *members, update("ECID:1", into={"m/s1": "exited"})])
    assert [decided.count(done) for done in (True, False)] == [9, 4]


def test_a_long_partition_key_is_cut_as_python_cuts_it(decided: list[bool]) -> None:
    config = snapshot(flow("vip", paths=("a",), partition_key=PartitionKey("attribute", steps=("a", "b"))))
    texts = ["é" * 256, "😀" * 257, "x" * 1000, "", "y"]
    made = compared(
        config, [update("ECID:1", into={"vip": "realized"}), *(update("ECID:1", a={"b": t}) for t in texts)]
    )
    assert decided == [True] * 6
    assert [one.key for one in made[1:4]] == ["é" * 256, "😀" * 256, "x" * 256]
    assert made[4].key == made[0].key == made[0].profile_id


def test_ordinary_updates_are_decided_by_c() -> None:
    """Else the comparison above would compare Python with itself."""
    config = snapshot(flow("vip", paths=("a.b", "c"), metadata=True))
    first = update("ECID:1", "Email:x@example.test", into={"vip": ("realized", T1)}, a={"b": "é", "d": 1}, e=[1])
    others = [
        update("ECID:1", a={"b": 2.5}),
        update("Email:x@example.test", into={"vip": ("exited", T2)}),
        update("Email:x@example.test", into={"vip": "realized"}, c=True, _id="again"),
        first,
        update("ECID:1", into={"aam/new": ("realized", T1)}),
        update("ECID:1", other={"deep": {"er": [{"a": None}]}}),
    ]
    folder = Folder(config, by_c=True)
    folder.take([first], NOW_MS)
    (key, stored) = next((k, v) for k, v in folder.state.scan(b"", b"\xff" * 9) if v[:1] == b"\x9a")
    profile_id = key[-32:].decode()
    for number, body in enumerate(others, 2):
        found = plain.scan(body)
        assert found is not None, body
        done = plain.apply(
            stored, found[3], found[0], profile_id, number, NOW_MS, from_ms(NOW_MS), plain.plan(config), [[]]
        )
        assert done is not None, body
        stored = done[0] or stored
    assert len(compared(config, [first, *others], 2)) == 5


def test_what_c_leaves_to_python() -> None:
    known = update("ECID:1", into={"vip": ("realized", T1)}, a={"b": 1})
    config = snapshot(flow("vip", paths=("a",)))
    folder = Folder(config, by_c=True)
    folder.take([known], NOW_MS)
    stored = next(v for _, v in folder.state.scan(b"", b"\xff" * 9) if v[:1] == b"\x9a")
    arguments: tuple[Any, ...] = ("0" * 32, 2, NOW_MS, from_ms(NOW_MS), plain.plan(config), [[]])

    def left(body: bytes) -> bool:
        found = plain.scan(body)
        return found is None or plain.apply(stored, found[3], found[0], *arguments) is None

    assert left(update("ECID:1", a=None)), "something is removed"
    assert left(update("ECID:1", a=1)), "a conflict of types"
    assert left(update("ECID:1", into={"vip": {"status": "realized", "validUntil": T2}}))
    assert not left(update("ECID:1", a={"b": 2}))


@pytest.mark.parametrize("by_c", [False, True])
def test_a_profile_that_is_gone_is_not_made_again(by_c: bool) -> None:
    """Under the ids and numbers that consumers have seen, its messages would be taken for repeats."""
    config = snapshot(flow("vip", paths=("a",)))
    folder = Folder(config, by_c=by_c)
    folder.take([update("ECID:1", into={"vip": "realized"})], NOW_MS)
    lost = folder.state.batch()
    lost.delete(next(key for key, value in folder.state.scan(b"", b"\xff" * 9) if value[:1] == b"\x9a"))
    folder.state.commit(lost)
    folder.decider = Decider(folder.state, folder.keys, config, KEY, dedup_window_ms=1000, by_c=by_c)
    with pytest.raises(AssertionError):
        folder.take([update("ECID:1", a=1)], NOW_MS)


@pytest.mark.parametrize("settings", [
    {"deliver": "joinedLeft"}, {"status_model": "seed"}, {"membership_scope": "mapped"}, {"include_names": True},
])  # fmt: skip
def test_a_flow_with_seldom_used_settings_is_decided_by_python(settings: dict[str, Any]) -> None:
    assert plain.plan(snapshot(flow("vip", id="f"), flow("vip", id="g", **settings))) is None


def test_a_call_within_a_call_is_left_to_python() -> None:
    """Where an object is made, garbage may be collected, and Python code run by that: the buffers are in use then."""
    config = snapshot(flow("vip", paths=("a",)))
    body = update("ECID:1", into={"vip": ("realized", T1)}, a=1)
    identities, _, _, note = plain.scan(body)
    within: list[Any] = []

    def decide() -> Any:
        return plain.apply(None, note, identities, "0" * 32, 1, NOW_MS, from_ms(NOW_MS), plain.plan(config), [[]])

    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            within.append((plain.scan(body), decide()))

    plan, exports = plain.plan(config), [[]]  # type: ignore[var-annotated]
    for threshold in range(1, 40):
        gc.collect()
        Garbage()
        kept = gc.get_threshold()
        gc.set_threshold(gc.get_count()[0] + threshold)
        try:
            done = plain.apply(None, note, identities, "0" * 32, 1, NOW_MS, from_ms(NOW_MS), plan, exports)
        finally:
            gc.set_threshold(*kept)
        assert done is not None
        if (None, None) in within:
            break
    assert (None, None) in within


def test_when_memory_is_there_again_all_is_as_before() -> None:
    """One allocation after the other fails: then nothing is decided, never something else."""
    allocation = pytest.importorskip("_testcapi")
    native = cast(Any, plain)._native
    key = PartitionKey("attribute", steps=("c",))
    config = snapshot(
        flow("vip", "aam/é", id="f", paths=("a.b", "é"), metadata=True), flow("vip", id="g", partition_key=key)
    )
    body = update(
        "ECID:1", "Email:é", into={"vip": ("realized", T1), "aam/é": "exited"}, a={"b": "x" * 3000}, c="é\n", é=1
    )

    def decide(plan: Any) -> Any:
        found = native.scan(body)
        exports: list[Any] = [[], []]
        done = found and native.apply(None, found[3], found[0], "0" * 32, 1, NOW_MS, from_ms(NOW_MS), plan, exports)
        return done and (found, done, exports)

    def told(found: Any) -> Any:
        return found and (*found[:2], [[(p.bucket, p.export) for p in of_flow] for of_flow in found[2]])

    wanted = told(decide(plain.plan(config)))
    assert wanted
    failed = 0
    for number in range(1, 150):
        plan, found = plain.plan(config), None
        allocation.set_nomemory(number, number + 1)
        try:
            found = decide(plan)
        except MemoryError:
            failed += 1
        finally:
            allocation.remove_mem_hooks()
        assert found is None or told(found) == wanted, number
        assert told(decide(plan)) == wanted, number
    assert failed > 20


def test_what_a_large_update_took_is_given_back() -> None:
    config = snapshot(flow("vip", paths=("a",)))

    def decide(text: str) -> None:
        found = plain.scan(update("ECID:1", into={"vip": ("realized", T1)}, a=text))
        made: list[Any] = [[]]
        plain.apply(None, found[3], found[0], "0" * 32, 1, NOW_MS, from_ms(NOW_MS), plain.plan(config), made)
        assert len(made[0]) == 1

    decide("small")
    tracemalloc.start()
    try:
        decide("large" * 200_000)
        decide("small")
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_arguments_are_checked() -> None:
    with pytest.raises(TypeError):
        plain.apply(b"", b"", [], "", 1, 1, "", None, [])
    with pytest.raises(ValueError, match="PyCapsule"):
        plain.apply(b"x", bytes(8), [], "", 1, 1, "", None, [])
    with pytest.raises(TypeError, match="a list for each of the 1 flows"):
        plain.apply(b"x", bytes(8), [], "", 1, 1, "", plain.plan(snapshot(flow("vip"))), [])
    assert plain.scan("text") is None
