"""Ids as bytes: what is no id of ours takes its place too, and nobody else's."""

from __future__ import annotations

import pytest

from headrace.core.ids import ID_BYTES, pack_ids, unpack_id

GOOD = "0123456789abcdef" * 2


@pytest.mark.parametrize("odd", [
    ["", ""], ["0" * 31, "0" * 33], ["ab", "c" * 62], ["g" * 32, GOOD[:30]], ["é" * 32, " " * 32],
])  # fmt: skip
def test_one_that_is_none_of_ours_is_zeros(odd: list[str]) -> None:
    column = pack_ids([GOOD, *odd, GOOD])
    assert len(column) == ID_BYTES * 4
    assert [unpack_id(column, at) for at in range(4)] == [GOOD, "", "", GOOD]


def test_ids_are_packed_and_unpacked() -> None:
    ids = [GOOD, "f" * 32, GOOD[::-1]]
    assert [unpack_id(pack_ids(ids), at) for at in range(3)] == ids
    assert pack_ids([]) == b""
