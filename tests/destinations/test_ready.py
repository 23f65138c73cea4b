"""The queue of what may go now: its order, and requests within their limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import Manual
from headrace.core.model import Cause, Export
from headrace.destinations.block import Block
from headrace.destinations.pending import Pending, pending
from headrace.destinations.ready import Ready


def exports(sizes: list[int]) -> list[Pending]:
    """One export of each size, its key of one byte included."""
    return [
        pending(Export(n, f"p{n}", "", 1, 1, 1, "k", b"x" * (size - 1), Cause("live"), 0, ""), Block(0, [n]), 0)
        for n, size in enumerate(sizes)
    ]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("extend"), st.lists(st.integers(1, 9), max_size=40)),
            st.tuples(st.just("back"), st.lists(st.integers(1, 9), max_size=5)),
            st.tuples(st.just("cut"), st.tuples(st.integers(1, 20), st.integers(0, 60))),
        ),
        max_size=40,
    )
)
def test_it_is_a_queue(steps: list[tuple[str, object]]) -> None:
    """Against a plain list: what is added goes last, what comes back first, and a cut takes the longest that fits."""
    ready, model = Ready(Manual()), list[Pending]()
    for what, given_ in steps:
        if what == "cut":
            assert isinstance(given_, tuple)
            most, room = given_
            taken = ready.cut(most, room)
            fits = [n for n in range(1, most + 1) if n <= len(model) and sum(p.size for p in model[:n]) <= room]
            expected = max(fits, default=min(1, len(model)))
            assert taken == model[:expected]
            del model[:expected]
        else:
            assert isinstance(given_, list)
            more = exports(given_)
            model = model + more if what == "extend" else more + model
            (ready.extend if what == "extend" else ready.back)(list(more))
        assert ready.all() == model
        assert (ready.count, ready.bytes) == (len(model), sum(p.size for p in model))


def test_long_runs_are_cut_in_order() -> None:
    """Many more than a run at once."""
    ready, many = Ready(Manual()), exports([2] * 5000)
    ready.extend(list(many))
    taken: list[Pending] = []
    while ready.count:
        taken += ready.cut(499, 10_000)
    assert taken == many
