"""Plain updates decided by C come to what Python decides, byte for byte: profiles, exports, reasons, counts.

Where C is not compiled there is nothing to compare: `make test-compiled` runs these.
"""

from __future__ import annotations

import json
import tracemalloc
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core import plain
from headrace.core.export import bucket_of
from headrace.core.flow import PartitionKey, Snapshot
from headrace.core.model import NOTHING, Cause, Export, Identity, Lifetimes
from headrace.core.times import from_ms
from headrace.core.update import parse_update
from headrace.runtimes.embedded.decide import Decider
from headrace.sources.base import Batch
from headrace.state import records
from headrace.state.keys import Keys
from headrace.state.memory import MemoryState

from .driving import DAY_MS, KEY, NOW_MS, T1, T2, flow, snapshot, update
from .values import NAMES, PATHS, TIMES

pytestmark = pytest.mark.skipif(not plain.COMPILED, reason="C is not compiled")


def scanned(body: bytes) -> tuple[Any, ...] | None:
    """What C reads of an update, its note taken apart."""
    found = plain.scan(body)
    if found is None:
        return None
    identities, primary, update_id, note = found
    attributes, memberships = (int.from_bytes(note[at : at + 4], "little") for at in (0, 4))
    at = 8
    stated = []
    for _ in range(memberships):
        sizes = [int.from_bytes(note[at + n : at + n + 4], "little") for n in (0, 4)]
        member, dated, since = note[at + 8], note[at + 9], note[at + 10 : at + 34].decode()
        at += 36  # the record is padded to whole words
        namespace, segment_id = note[at : at + sizes[0]], note[at + sizes[0] : at + sum(sizes)]
        at += sum(sizes)
        stated.append((namespace.decode(), segment_id.decode(), bool(member), since if dated else None, None))
    return identities, primary, update_id, stated, attributes, note[at:]


def read_alike(body: bytes) -> bool:
    """Holds what C reads against what Python reads; false where C leaves it to Python."""
    found = scanned(body)
    if found is None:
        return False
    wanted = parse_update(body)
    identities, primary, update_id, stated, count, attributes = found
    assert (identities, primary, update_id) == (wanted.identities, wanted.primary, wanted.update_id)
    assert all(type(one) is type(wanted.primary) for one in identities)
    assert stated == [msgspec.structs.astuple(m) for m in wanted.memberships]
    assert count == len(wanted.attributes)
    encode = msgspec.msgpack.encode
    assert attributes == b"".join(encode(k) + encode(v) for k, v in wanted.attributes.items())
    return True


TEXTS = st.text(max_size=6) | st.sampled_from(["é☃😀", '"\\/', "\x7f\u2028", "\x00", "\n\r\t\b\f\x1f", "a" * 300])
NUMBERS = (
    st.integers(-3, 3)
    | st.sampled_from([127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64])
    | st.sampled_from([-32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63) + 1, -(2**63)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1000, 1000)
    | st.sampled_from([0.0, -0.0, 1e15, 1e16, 1e17, 1e-4, 1e-5, 12.5, 5e-324, 1.7976931348623157e308])
)
LEAVES = st.booleans() | TEXTS | NUMBERS
VALUES = st.recursive(
    LEAVES | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(NAMES | TEXTS, VALUES, max_size=4), st.booleans())
@example({"body": {"a": 1}}, False)
@example({"body": {"xdmEntity": {}}}, False)
@example({"header": {"createdAt": 1}}, False)
@example({"_id": "x"}, False)
@example({"_id": ""}, False)
@example({"identityMap": None}, False)
def test_attributes_are_read_as_python_reads_them(attributes: dict[str, Any], ascii_only: bool) -> None:
    record = {"identityMap": {"ECID": [{"id": "1"}]}} | attributes
    read_alike(json.dumps(record, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


ENTRY = st.fixed_dictionaries(
    {"id": TEXTS | st.integers()},
    optional={"primary": st.booleans() | st.none() | st.just("true"), "authenticatedState": VALUES},
)


@given(st.dictionaries(st.sampled_from(["ECID", "ecid", "Email", "é", "", "x" * 65]) | TEXTS,
                       st.lists(ENTRY, max_size=4), max_size=4))  # fmt: skip
def test_identities_are_read_as_python_reads_them(found: dict[str, Any]) -> None:
    try:
        read_alike(json.dumps({"identityMap": found}, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return


STATED = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["realized", "existing", "exited", "gone"]) | st.none(),
        "lastQualificationTime": TIMES | st.none() | st.sampled_from(["2024-02-29T23:59:59.999Z", "x"]),
        "timestamp": TIMES | st.just("2025-01-01T00:00:00+01:00"),
        "validUntil": TIMES,
        "other": VALUES,
    },
)


@given(st.dictionaries(st.sampled_from(["ups", "aam", "", "é"]), st.dictionaries(NAMES | TEXTS, STATED, max_size=3)))
def test_memberships_are_read_as_python_reads_them(found: dict[str, Any]) -> None:
    try:
        read_alike(json.dumps({"segmentMembership": found, "identityMap": {"a": [{"id": "1"}]}}).encode())
    except UnicodeEncodeError:
        return


@given(
    st.tuples(*(st.integers(0, most) for most in (2030, 14, 33, 25, 61, 61))),
    st.sampled_from(["", ".000", ".5", ".123", ".1234", ".12x"]),
    st.sampled_from("Zz+T"),
)
def test_times_are_read_as_python_reads_them(numbers: tuple[int, ...], fraction: str, end: str) -> None:
    year, month, day, hour, minute, second = numbers
    since = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{end}"
    read_alike(update("a:1", into={"vip": ("realized", since)}))


WHOLE = update(
    "ECID:1", "Email:é", into={"vip": ("realized", T1), "aam/x": "exited"}, a={"b": [1, 2.5, None]}, c="x\n"
)


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_broken_update_is_left_to_python_or_read_as_it_reads_it(at: int, put: bytes, cut: int) -> None:
    read_alike(WHOLE[:at] + put + WHOLE[at + cut :])


def test_every_sign_is_rendered_as_msgspec_renders_it() -> None:
    text = "".join(map(chr, [*range(0x20), *range(0x20, 0x180), 0x2028, 0xFFFF, 0x10FFFF]))
    config = snapshot(flow("vip", paths=("a", "b")))
    compared(config, [update("ECID:1", into={"vip": "realized"}), update("ECID:1", a=text, b={text: text})])


# -- deciding -------------------------------------------------------------------------------------


class Folder:
    """A state, and a decider over it that has C decide, or not."""

    def __init__(self, config: Snapshot, *, by_c: bool) -> None:
        self.state, self.keys, self.totals = MemoryState(), Keys(), records.Totals()
        self.decider = Decider(self.state, self.keys, config, KEY, dedup_window_ms=1000, cached=3, by_c=by_c)
        self.decider.base_from = 4
        self.next = 1
        self.told: list[Any] = []

    def take(self, bodies: list[bytes], now_ms: int) -> None:
        write = self.state.batch()
        batch = Batch("t", bodies, str, None, lambda _: None)
        made = self.decider.decide([batch], [], self.next, now_ms, self.totals, write)
        for _, export, encoded in (one for of_flow in made.exports for one in of_flow):
            assert encoded is None or encoded == msgspec.msgpack.encode(export)
        exports = [[(bucket, export) for bucket, export, _ in of_flow] for of_flow in made.exports]
        self.told.append((exports, made.refused, made.discards, made.soonest_ms, made.last, made.journal))
        self.next = made.last + 1
        self.state.commit(write)


def compared(config: Snapshot, history: list[bytes], size: int = 3) -> list[Export]:
    """Has C and Python decide a history, and holds all that came of it against each other; C's exports."""
    assert plain.plan(config) is not None
    by_c, by_python = Folder(config, by_c=True), Folder(config, by_c=False)
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


@given(configurations(), st.lists(updates(), min_size=1, max_size=12), st.integers(1, 5))
def test_c_decides_as_python_does(config: Snapshot, history: list[bytes], size: int) -> None:
    compared(config, history, size)


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
    """Another thread may come in while C has Python name a bucket: the buffers are in use then."""
    config = snapshot(flow("vip", paths=("a",)))
    body = update("ECID:1", into={"vip": ("realized", T1)}, a=1)
    identities, _, _, note = plain.scan(body)
    within: list[Any] = []

    def decide() -> Any:
        return plain.apply(None, note, identities, "0" * 32, 1, NOW_MS, from_ms(NOW_MS), plain.plan(config), [[]])

    def bucket(key: str) -> int:
        within.append((plain.scan(body), decide()))
        return 7

    native = cast(Any, plain)._native
    kept = (Identity, Cause, Export)
    native.use(*kept, bucket, NOTHING)
    try:
        assert decide() is not None
    finally:
        native.use(*kept, bucket_of, NOTHING)
    assert within == [(None, None)]


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

    kept = (Identity, Cause, Export)
    native.use(*kept, len, NOTHING)  # CPython's own MD5 does not outlive a failed allocation
    try:
        wanted = decide(plain.plan(config))
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
            assert found is None or found == wanted, number
            assert decide(plan) == wanted, number
    finally:
        native.use(*kept, bucket_of, NOTHING)
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
