"""The CBOR codec, against examples of RFC 8949 and botocore's own parser."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.testing import cbor

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip(value: Any) -> None:
    """What is encoded decodes to the same."""
    assert cbor.decode(cbor.encode(value)) == value


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0), ("1818", 24), ("1903e8", 1000), ("1b000000e8d4a51000", 10**12), ("20", -1), ("3863", -100),
        ("f90000", 0.0), ("f93c00", 1.0), ("fb3ff199999999999a", 1.1), ("f97c00", math.inf), ("fa47c35000", 100000.0),
        ("f4", False), ("f5", True), ("f6", None), ("4401020304", b"\x01\x02\x03\x04"), ("62c3bc", "ü"),
        ("80", []), ("83010203", [1, 2, 3]), ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"), ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]), ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("c11a514b67b0", 1363896240),
    ],
)  # fmt: skip
def test_examples_of_the_rfc(encoded: str, value: Any) -> None:
    """RFC 8949, appendix A."""
    assert cbor.decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    "encoded", ["", "18", "62c3", "ff", "81ff", "a161", "a1", "bf6161ff", "9f", "0000", "1c", "f8ff", "5f01ff",
                "a18000", "81" * 40 + "00", "1f", "9bffffffffffffffff"],
)  # fmt: skip
def test_what_is_not_cbor_is_refused(encoded: str) -> None:
    """Torn, misplaced, nested too deep, or unknown: ValueError, whatever the bytes."""
    with pytest.raises(ValueError):  # noqa: PT011 - the one error of the decoder
        cbor.decode(bytes.fromhex(encoded))


@given(st.binary(max_size=40))
def test_any_bytes(body: bytes) -> None:
    """No bytes make it fail in another way."""
    try:
        cbor.decode(body)
    except ValueError:
        return


def test_unencodable() -> None:
    """A value without a place in CBOR is refused."""
    with pytest.raises(TypeError):
        cbor.encode({1: object()})
