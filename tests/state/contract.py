"""What every state promises, as tests: T1 to T5 of ``headrace.state.base``.

A test module subclasses ``StateContract`` and says with the fixture ``state`` how to open an empty one.
"""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from headrace.state.base import State

ALL = (b"", b"\xff" * 40)

Model = dict[bytes, bytes]

keys = st.binary(min_size=1, max_size=4).filter(lambda key: key < ALL[1])
changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.binary(max_size=3)),
        st.tuples(st.just("delete"), keys, st.just(b"")),
        st.tuples(st.just("delete_range"), keys, keys),
    ),
    max_size=8,
)


def put(state: State, **values: bytes) -> None:
    """Commit keys and values."""
    batch = state.batch()
    for key, value in values.items():
        batch.put(key.encode(), value)
    state.commit(batch)


def everything(state: State) -> dict[bytes, bytes]:
    """All that a state holds."""
    return dict(state.scan(*ALL))


def apply(state: State, model: Model, made: list[tuple[str, bytes, bytes]]) -> None:
    """Commit changes as one batch, and make them on a plain dictionary too."""
    batch = state.batch()
    for change, key, other in made:
        if change == "put":
            batch.put(key, other)
            model[key] = other
        elif change == "delete":
            batch.delete(key)
            model.pop(key, None)
        elif key < other:
            batch.delete_range(key, other)
            for inside in [k for k in model if key <= k < other]:
                del model[inside]
    state.commit(batch)


class StateContract:
    """The suite; ``state`` is a fixture of the module, empty at first."""

    def test_t1_a_batch_is_applied_in_the_order_it_was_built(self, state: State) -> None:
        """Of two changes of one key the later one holds, whatever their kinds."""
        put(state, c=b"old", z=b"old")
        batch = state.batch()
        batch.put(b"a", b"1")
        batch.put(b"a", b"2")
        batch.put(b"b", b"1")
        batch.delete(b"b")
        batch.delete_range(b"c", b"d")
        batch.put(b"c", b"new")
        batch.put(b"y", b"1")
        batch.delete_range(b"y", b"zz")
        state.commit(batch)
        assert everything(state) == {b"a": b"2", b"c": b"new"}

    def test_t1_nothing_of_a_batch_is_there_before_its_commit(self, state: State) -> None:
        """A batch that was built and not committed changes nothing."""
        put(state, a=b"1")
        batch = state.batch()
        batch.put(b"a", b"2")
        batch.delete(b"a")
        assert everything(state) == {b"a": b"1"}

    def test_t2_commits_are_seen_by_later_reads(self, state: State) -> None:
        """Without any sync, by single reads and by scans in both directions."""
        put(state, a=b"1", b=b"2")
        assert state.get_many([b"b", b"missing", b"a", b"b"]) == [b"2", None, b"1", b"2"]
        assert state.get_many([]) == []
        assert list(state.scan(b"a", b"c")) == [(b"a", b"1"), (b"b", b"2")]
        put(state, a=b"")
        assert state.get_many([b"a"]) == [b""]

    def test_t3_sync_may_run_beside_commits(self, state: State) -> None:
        """A thread that syncs without pause and a loop that commits do not disturb each other."""
        ended = threading.Event()
        failures: list[Exception] = []

        def syncing() -> None:
            try:
                while not ended.is_set():
                    state.sync()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
                failures.append(error)

        thread = threading.Thread(target=syncing)
        thread.start()
        for n in range(300):
            put(state, **{f"k{n % 50}": b"%d" % n})
        ended.set()
        thread.join()
        assert failures == []
        assert everything(state) == {b"k%d" % (n % 50): b"%d" % n for n in range(250, 300)}

    def test_t4_bounds(self, state: State) -> None:
        """The start is included and the end is not, forwards and backwards, whether or not they exist."""
        put(state, a=b"1", b=b"2", c=b"3", ca=b"4", d=b"5")
        assert [k for k, _ in state.scan(b"b", b"d")] == [b"b", b"c", b"ca"]
        assert [k for k, _ in state.scan_back(b"b", b"d")] == [b"ca", b"c", b"b"]
        assert [k for k, _ in state.scan(b"aa", b"cb")] == [b"b", b"c", b"ca"]
        assert [k for k, _ in state.scan_back(b"aa", b"cb")] == [b"ca", b"c", b"b"]
        for start, end in ((b"c", b"c"), (b"d", b"a"), (b"e", b"z"), (b"A", b"Z")):
            assert list(state.scan(start, end)) == []
            assert list(state.scan_back(start, end)) == []

    def test_t4_bytes_at_the_edges(self, state: State) -> None:
        """Zero bytes and 0xff bytes are bytes like others, at the end of a key too."""
        there = [b"a", b"a\0", b"a\0\xff", b"a\xff", b"a\xff\xff", b"a\xff\xff\0", b"b", b"\xff", b"\xff\xff"]
        batch = state.batch()
        for key in reversed(there):
            batch.put(key, b"")
        state.commit(batch)
        assert [k for k, _ in state.scan(*ALL)] == sorted(there)
        assert [k for k, _ in state.scan_back(*ALL)] == sorted(there, reverse=True)
        assert [k for k, _ in state.scan(b"a\xff", b"b")] == [b"a\xff", b"a\xff\xff", b"a\xff\xff\0"]
        assert [k for k, _ in state.scan_back(b"a\xff", b"b")] == [b"a\xff\xff\0", b"a\xff\xff", b"a\xff"]
        assert [k for k, _ in state.scan_back(b"a", b"a\xff\xff")] == [b"a\xff", b"a\0\xff", b"a\0", b"a"]

    def test_t4_a_scan_may_be_left_early_and_batches_be_built_meanwhile(self, state: State) -> None:
        """Stopping after one key leaves nothing held, and a commit after a scan is seen by the next."""
        put(state, a=b"1", b=b"2", c=b"3")
        batch = state.batch()
        for key, _ in state.scan(b"a", b"z"):
            batch.delete(key)
            break
        for key, _ in state.scan_back(b"a", b"z"):
            batch.delete(key)
            break
        state.commit(batch)
        assert everything(state) == {b"b": b"2"}

    def test_t5_close_may_be_called_twice(self, state: State) -> None:
        """The second time is nothing."""
        put(state, a=b"1")
        state.close()
        state.close()

    def test_t1_t2_t4_as_a_dictionary(self, state: State) -> None:
        """After any batches, every read answers as a sorted dictionary would."""

        @given(st.lists(changes, max_size=3), keys, keys)
        def same(batches: list[list[tuple[str, bytes, bytes]]], one: bytes, other: bytes) -> None:
            clean = state.batch()
            clean.delete_range(*ALL)
            state.commit(clean)
            model: Model = {}
            for made in batches:
                apply(state, model, made)
                assert everything(state) == model
            low, high = sorted((one, other))
            within = [(k, v) for k, v in sorted(model.items()) if low <= k < high]
            assert list(state.scan(low, high)) == within
            assert list(state.scan_back(low, high)) == within[::-1]
            assert state.get_many([one, other]) == [model.get(one), model.get(other)]

        same()
