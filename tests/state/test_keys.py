"""Keys: byte order is number order, spaces are whole, and no prefix reaches into another's keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.state import keys as spaces
from headrace.state.keys import MOST, OUTBOX, SETTLED, Keys

SPACES = [value for name, value in vars(spaces).items() if name.isupper() and isinstance(value, bytes)]
FLOW_IDS = st.text("abf01._-", min_size=1, max_size=4)
NUMBERS = st.integers(0, MOST)
BUCKETS = st.integers(0, 63)

keys = Keys()


def block(space: bytes, flow_id: str, bucket: int, ordinal: int) -> bytes:
    """Key of a block of the outbox, as the outbox builds it."""
    return keys.bucket(space, flow_id, bucket) + ordinal.to_bytes(8, "big")


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_number_order_is_byte_order(a: int, b: int, c: int, d: int) -> None:
    """Also of two numbers in one key, and of ordinals within a bucket."""
    assert (keys.numbered(b"D", a, b) < keys.numbered(b"D", c, d)) == ((a, b) < (c, d))
    assert (keys.numbered(b"J", a) < keys.numbered(b"J", b)) == (a < b)
    assert (block(OUTBOX, "f", 3, a) < block(OUTBOX, "f", 3, b)) == (a < b)


@given(st.lists(st.tuples(FLOW_IDS, BUCKETS, NUMBERS), unique=True, min_size=2, max_size=20))
def test_a_bucket_holds_its_own_blocks_only(blocks: list[tuple[str, int, int]]) -> None:
    """The range of one flow's bucket has the blocks of that flow and bucket: "f" never those of "f1"."""
    stored = {block(OUTBOX, *where): where for where in blocks}
    assert len(stored) == len(blocks)
    for flow_id, bucket, _ in blocks:
        start, end = block(OUTBOX, flow_id, bucket, 0), block(OUTBOX, flow_id, bucket, MOST)
        within = {where for key, where in stored.items() if start <= key <= end}
        assert within == {where for where in blocks if where[:2] == (flow_id, bucket)}


def test_flows_whose_ids_begin_alike() -> None:
    """Prefixes of "f" and "f1" are no prefixes of each other, in no space and for no bucket."""
    for space in (OUTBOX, SETTLED):
        for bucket in range(64):
            assert not block(space, "f1", bucket, 0).startswith(keys.bucket(space, "f", bucket))
            assert not keys.bucket(space, "f1", bucket).startswith(keys.prefix + space + b"f\0")


@given(st.sampled_from(SPACES), st.binary(max_size=24))
def test_a_space_holds_every_key_of_its_letter_and_no_other(space: bytes, rest: bytes) -> None:
    """Whatever follows the letter, 0xff bytes too; and of the other spaces nothing."""
    for other in SPACES:
        start, end = keys.space(other)
        assert (start <= keys.prefix + space + rest < end) == (other == space)


def test_spaces_have_letters_of_their_own() -> None:
    """One byte each, no two the same."""
    assert len(SPACES) == len(set(SPACES)) == 19
    assert all(len(letter) == 1 for letter in SPACES)


@given(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3), st.text(max_size=3), st.text(max_size=3))
def test_identities_have_rows_of_their_own(a: str, b: str, c: str, d: str) -> None:
    """Namespace and id cannot be mistaken for another pair (a namespace holds no zero byte)."""
    a, b = a.replace("\0", "") or "n", b.replace("\0", "") or "n"
    assert (keys.identity(a, c) == keys.identity(b, d)) == ((a, c) == (b, d))


def test_sandboxes_are_apart() -> None:
    """No key of "prod" lies in a space of "prod2", nor the other way round."""
    other = Keys("prod2")
    for space in SPACES:
        start, end = keys.space(space)
        assert not start <= other.numbered(space, 1) < end
        start, end = other.space(space)
        assert not start <= keys.numbered(space, 1) < end
