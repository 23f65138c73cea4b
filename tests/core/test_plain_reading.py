"""What C reads of an update is what Python reads of it: identities, memberships, attributes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core import plain
from headrace.core.update import parse_update

from .driving import T1, update
from .values import NAMES, TIMES

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


ID = b'"identityMap":{"ECID":[{"id":"1"}]}'


@pytest.mark.parametrize("body", [
    b' {"a" :\t"\\"\\\\\\/\\b\\f\\n\\r\\t",\r\n' + ID + b"} ",
    b'{"identityMap":{"ECID":[{"id":"2"},{"id":"1","primary":true}],"ecid":[{"primary":true,"id":"2"},{"id":"1"}]}}',
    b'{"identityMap":{"b":[{"id":"1","primary":false},{"id":"1"}],"A":[{"id":"1"}],"none":[]}}',
    b'{"a":[{"b":null},null,[]],"c":{},"d":-0.0,"e":-9223372036854775807,"f":9223372036854775807,' + ID + b"}",
    b'{"a":[' + b"1," * 65535 + b"1]," + ID + b"}",
    b'{"a":"' + b"x" * 65536 + b'",' + ID + b"}",
    '{"identityMap":{"ECID":[{"id":"é☃😀"}]},"_id":"é","é":"\x7f\u2028"}'.encode(),
    b'{"segmentMembership":{"ups":{"a":{"timestamp":"2024-02-29T00:00:00Z","lastQualificationTime":'
    b'"2025-01-01T00:00:00.123Z"},"b":{"status":"existing","timestamp":"2025-01-01T00:00:00Z"}},"x":{}},' + ID + b"}",
])  # fmt: skip
def test_what_c_reads(body: bytes) -> None:
    assert read_alike(body)


def _object(count: int) -> bytes:
    return b"{%s}" % b",".join(b'"n%d":{}' % n for n in range(count))


@pytest.mark.parametrize(("within", "beyond"), [
    (b'"a":' + b"[" * 16 + b"]" * 16, b'"a":' + b"[" * 17 + b"]" * 17),
    (b'"a":' + _object(64), b'"a":' + _object(65)),
    (_object(63)[1:-1], _object(64)[1:-1]),
    (b'"segmentMembership":{"a":%s}' % _object(64), b'"segmentMembership":{"a":%s}' % _object(65)),
    (b'"segmentMembership":{"a":%s,"b":%s,"c":%s,"d":%s}' % ((_object(64),) * 4),
     b'"segmentMembership":{"a":%s,"b":%s,"c":%s,"d":%s,"e":%s}' % ((_object(64),) * 4 + (_object(1),))),
    (b'"_id":"%s"' % (b"x" * 1024), b'"_id":"%s"' % ("é" * 513).encode()),
    (b'"a":1234567890123456789', b'"a":12345678901234567890'),
    (b'"a":0.123456789012345678901234567890', b'"a":0.1234567890123456789012345678901'),
    (b'"a":1.5', b'"a":1.5e0'),
    (b'"a":"\\n"', b'"a":"\\u000a"'),
])  # fmt: skip
def test_what_goes_beyond_c_is_left_to_python(within: bytes, beyond: bytes) -> None:
    assert read_alike(b"{%s,%s}" % (within, ID))
    beyond = b"{%s,%s}" % (beyond, ID)
    parse_update(beyond)
    assert not read_alike(beyond)
