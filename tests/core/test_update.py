"""Decoding updates: what is taken, and each kind of bad input refused once, with its reason and without values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.envelope import encode
from headrace.core.model import MAX_DEPTH, MAX_UPDATE_BYTES, Identity, MembershipChange
from headrace.core.reasons import REFUSALS
from headrace.core.update import Update, parse_update
from headrace.errors import UpdateRefusedError

from .driving import T1, Profiles, flow, snapshot, update

SECRET = "ada.secret@example.test"
ONE = b'"identityMap":{"ECID":[{"id":"1"}]}'


def with_field(text: bytes) -> bytes:
    return b"{" + ONE + b',"x":' + text + b"}"


def with_membership(**stated: Any) -> bytes:
    return update("ECID:1", into={"vip": stated}, email=SECRET)


def with_identity_map(found: Any) -> bytes:
    return msgspec.json.encode({"identityMap": found, "email": SECRET})


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + closing * levels


BAD: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "not-json"),
    ("white space", b" \n", "not-json"),
    ("cut off", update("ECID:1", email=SECRET)[:-3], "not-json"),
    ("single quotes", b"{'email':'" + SECRET.encode() + b"'}", "not-json"),
    ("two texts", with_field(b"1") + b"{}", "not-json"),
    ("NaN", with_field(b"NaN"), "not-json"),
    ("Infinity", with_field(b"Infinity"), "not-json"),
    ("byte order mark", b"\xef\xbb\xbf" + with_field(b"1"), "not-json"),
    ("UTF-16", with_field(b"1").decode().encode("utf-16"), "not-json"),
    ("byte of no UTF-8", with_field(b'"' + SECRET.encode() + b'\xff"'), "not-json"),
    ("byte of no UTF-8 in a name", b"{" + ONE + b',"\xff":1}', "not-json"),
    ("overlong UTF-8", with_field(b'"\xc0\x80"'), "not-json"),
    ("surrogate as UTF-8", with_field(b'"\xed\xa0\x80"'), "not-json"),
    ("high surrogate alone", with_field(b'"' + SECRET.encode() + b'\\ud800"'), "not-json"),
    ("high surrogate and a letter", with_field(b'"\\ud800\\u0041"'), "not-json"),
    ("high surrogate and text", with_field(b'"\\ud83d xxxxxxxx"'), "not-json"),
    ("low surrogate alone", with_field(b'"\\udc00 xxxxxxxx"'), "not-json"),
    ("lone surrogate in an id", b'{"identityMap":{"ECID":[{"id":"\\ud800"}]}}', "not-json"),
    ("null", b"null", "not-an-object"),
    ("array", b'["' + SECRET.encode() + b'"]', "not-an-object"),
    ("text", b'"' + SECRET.encode() + b'"', "not-an-object"),
    ("number", b"5", "not-an-object"),
    ("an xdmEntity of null", b'{"body":{"xdmEntity":null}}', "not-an-object"),
    ("an xdmEntity of text", b'{"body":{"xdmEntity":"' + SECRET.encode() + b'"}}', "not-an-object"),
    ("empty object", b"{}", "no-identity"),
    ("no identityMap", msgspec.json.encode({"email": SECRET}), "no-identity"),
    ("identityMap of null", with_identity_map(None), "no-identity"),
    ("identityMap of text", with_identity_map(SECRET), "no-identity"),
    ("identityMap of nothing", with_identity_map({}), "no-identity"),
    ("namespace of nothing", with_identity_map({"ECID": []}), "no-identity"),
    ("envelope without identity", b'{"header":{},"body":{"xdmEntity":{}}}', "no-identity"),
    ("identity without id", with_identity_map({"ECID": [{"primary": True}]}), "bad-identity"),
    ("identity without id beside a good one", with_identity_map({"ECID": [{"id": "1"}, {}]}), "bad-identity"),
    ("identity that is text", with_identity_map({"ECID": [SECRET]}), "bad-identity"),
    ("identities that are an object", with_identity_map({"ECID": {"id": SECRET}}), "bad-identity"),
    ("empty namespace", with_identity_map({"": [{"id": SECRET}]}), "bad-identity"),
    ("zero in a namespace", with_identity_map({"a\0b": [{"id": SECRET}]}), "bad-identity"),
    ("namespace of 1,025", with_identity_map({"n" * 1025: [{"id": SECRET}]}), "bad-identity"),
    ("empty id", with_identity_map({"ECID": [{"id": ""}]}), "bad-identity"),
    ("id of 1,025", with_identity_map({"ECID": [{"id": SECRET * 44 + "1234567890123"}]}), "bad-identity"),
    ("id that is a number", with_identity_map({"ECID": [{"id": 12345678901}]}), "bad-identity"),
    ("id of null", with_identity_map({"ECID": [{"id": None}]}), "bad-identity"),
    ("membership map that is an array", b"{" + ONE + b',"segmentMembership":[]}', "bad-membership"),
    ("membership map that is false", b"{" + ONE + b',"segmentMembership":false}', "bad-membership"),
    ("membership map that is empty text", b"{" + ONE + b',"segmentMembership":""}', "bad-membership"),
    ("membership namespace of text", b"{" + ONE + b',"segmentMembership":{"ups":"x"}}', "bad-membership"),
    ("membership namespace without name", b"{" + ONE + b',"segmentMembership":{"":{}}}', "bad-membership"),
    ("membership without audience", b"{" + ONE + b',"segmentMembership":{"ups":{"":{}}}}', "bad-membership"),
    ("membership of text", b"{" + ONE + b',"segmentMembership":{"ups":{"v":"exited"}}}', "bad-membership"),
    ("unknown status", with_membership(status=SECRET), "bad-membership"),
    ("status in capitals", with_membership(status="Realized"), "bad-membership"),
    ("status of null", with_membership(status=None), "bad-membership"),
    ("status that is an array", with_membership(status=[SECRET]), "bad-membership"),
    ("time that is none", with_membership(lastQualificationTime=SECRET), "bad-time"),
    ("time that is a number", with_membership(lastQualificationTime=1767225600), "bad-time"),
    ("time without offset", with_membership(lastQualificationTime="2026-01-01T00:00:00"), "bad-time"),
    ("timestamp that is none", with_membership(timestamp=SECRET), "bad-time"),
    ("end that is none", with_membership(validUntil=SECRET), "bad-time"),
    ("arrays too deep", with_field(nested(MAX_DEPTH)), "too-deep"),
    ("objects too deep", with_field(b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH), "too-deep"),
    ("100,000 brackets", with_field(nested(100_000)), "too-deep"),
    ("100,000 brackets alone", nested(100_000), "too-deep"),
    ("100,000 objects", nested(100_000, b'{"a":', b"}"), "too-deep"),
    ("100,000 brackets that never close", b"[" * 100_000, "too-deep"),
    ("float beyond 64 bits", with_field(b"1e400"), "number-out-of-range"),
    ("negative float beyond 64 bits", with_field(b"-1e400"), "number-out-of-range"),
    ("integer of 5,000 digits", with_field(b"9" * 5000), "number-out-of-range"),
    ("2 MiB", with_field(b'"' + b"x" * (2 << 20) + b'"'), "too-large"),
    ("one byte too many", with_field(b'"' + b"x" * (MAX_UPDATE_BYTES - 43) + b'"'), "too-large"),
    ("update id that is a number", b"{" + ONE + b',"_id":5}', "bad-update-id"),
    ("empty update id", b"{" + ONE + b',"_id":""}', "bad-update-id"),
    ("update id of 1,025", update("ECID:1", _id="x" * 1025), "bad-update-id"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), [pytest.param(body, reason, id=about) for about, body, reason in BAD])
def test_bad_input_is_refused_with_its_reason_and_without_values(body: bytes, reason: str) -> None:
    """One UpdateRefusedError with a code of the closed list; nothing that the update holds is in any text of it."""
    with pytest.raises(UpdateRefusedError) as caught:
        parse_update(body)
    error = caught.value
    assert error.reason == reason
    assert reason in REFUSALS
    for text in (str(error), repr(error), error.problem, error.place):
        assert SECRET not in text
        assert len(text) < 300
    assert error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize("number", [b"18446744073709551616", b"-9223372036854775809", b"9" * 300])
def test_an_integer_beyond_64_bits_is_refused_when_it_would_be_stored(number: bytes) -> None:
    """It can be decoded, and stepped; storing it is what is refused, with the same error."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",))))
    with pytest.raises(UpdateRefusedError) as caught:
        profiles.apply(b"{" + ONE + b',"segmentMembership":{"ups":{"vip":{}}},"x":' + number + b"}")
    assert caught.value.reason == "number-out-of-range"
    assert number.decode() not in str(caught.value)
    assert profiles.stored == {}


@pytest.mark.parametrize("number", [b"18446744073709551615", b"-9223372036854775808", b"0", b"-1.5", b"1e308"])
def test_numbers_of_64_bits_pass_exactly(number: bytes) -> None:
    """The greatest, the least and the ordinary ones come out as they came in."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",))))
    done = profiles.apply(b"{" + ONE + b',"segmentMembership":{"ups":{"vip":{}}},"x":' + number + b"}")
    assert done.exports[0][2].data.startswith(b'{"x":' + number + b",")


def test_what_is_not_utf8_is_named_by_its_byte() -> None:
    """The byte is counted from the beginning of the update, not of the string it lies in."""
    body = with_field(b'"abc\xff"')
    with pytest.raises(UpdateRefusedError, match=f"byte {body.index(0xFF)}\\)"):
        parse_update(body)


def test_places_stay_short_and_on_one_line() -> None:
    """A long or unprintable audience id is not repeated in the error."""
    for segment_id in ("x" * 65, "a\nb"):
        with pytest.raises(UpdateRefusedError) as caught:
            parse_update(update("ECID:1", into={segment_id: "gone"}))
        assert caught.value.place == "segmentMembership.ups.….status"
    with pytest.raises(UpdateRefusedError) as caught:
        parse_update(update("ECID:1", into={"vip": {"lastQualificationTime": "x"}}))
    assert caught.value.place == "segmentMembership.ups.vip.lastQualificationTime"


def test_the_deepest_that_is_taken() -> None:
    """As many levels as the limit, the record itself included, also beside many brackets that nest less."""
    deepest = with_field(nested(MAX_DEPTH - 1))
    assert parse_update(deepest).attributes["x"]
    assert len(parse_update(with_field(b"[" + b",".join([b"[]"] * 500) + b"]")).attributes["x"]) == 500
    assert encode(Profiles(snapshot()).apply(deepest).envelope)  # type: ignore[arg-type]


def test_the_largest_that_is_taken() -> None:
    """An update of exactly the limit is taken."""
    frame = len(with_field(b'""'))
    body = with_field(b'"' + b"x" * (MAX_UPDATE_BYTES - frame) + b'"')
    assert len(body) == MAX_UPDATE_BYTES
    assert parse_update(body).attributes["x"].startswith("x")


def test_of_duplicate_keys_the_last_wins() -> None:
    """At the top, within, and for the identity map itself."""
    body = b'{"identityMap":{"A":[{"id":"1"}]},"identityMap":{"B":[{"id":"1","id":"2"}]},"x":1,"x":{"y":1,"y":2}}'
    read = parse_update(body)
    assert read.identities == [("b", "2")]
    assert read.attributes == {"x": {"y": 2}}


def fields(of: Update) -> list[Any]:
    return [of.identities, of.primary, of.memberships, of.attributes, of.update_id, of.stamp_ms]


def test_a_bare_record_and_the_collections_envelope_are_the_same() -> None:
    """The envelope's header is left behind; its time is read where it counts, and only there."""
    record = {"identityMap": {"ECID": [{"id": "1"}]}, "x": 1, "_id": "u1"}
    wrapped = {"header": {"createdAt": "2026-01-01T00:00:00.5Z"}, "body": {"xdmMeta": {}, "xdmEntity": record}}
    bare, inside = parse_update(msgspec.json.encode(record)), parse_update(msgspec.json.encode(wrapped))
    assert fields(inside) == fields(bare)
    assert bare.update_id == "u1"
    assert bare.attributes == {"x": 1}
    assert parse_update(msgspec.json.encode(wrapped), stamped=True).stamp_ms == 1_767_225_600_500
    assert parse_update(msgspec.json.encode(record), stamped=True).stamp_ms is None
    wrapped["header"] = {"createdAt": "yesterday"}
    assert fields(parse_update(msgspec.json.encode(wrapped))) == fields(bare)
    with pytest.raises(UpdateRefusedError, match=r"header\.createdAt"):
        parse_update(msgspec.json.encode(wrapped), stamped=True)


def test_a_record_with_a_body_of_its_own_is_a_record() -> None:
    """Only a body that holds an xdmEntity makes an envelope."""
    assert parse_update(update("ECID:1", body={"height": 3})).attributes == {"body": {"height": 3}}


@pytest.mark.parametrize(
    ("found", "identities", "primary"),
    [
        ({"ECID": [{"id": "1"}]}, ["ecid:1"], "ecid:1"),
        ({"Email": [{"id": "b"}, {"id": "a"}], "ECID": [{"id": "9"}]}, ["ecid:9", "email:a", "email:b"], "ecid:9"),
        ({"ECID": [{"id": "9"}], "Email": [{"id": "b", "primary": True}]}, ["ecid:9", "email:b"], "email:b"),
        ({"A": [{"id": "2", "primary": True}, {"id": "1", "primary": True}]}, ["a:1", "a:2"], "a:2"),
        ({"A": [{"id": "1", "primary": "yes"}], "B": []}, ["a:1"], "a:1"),
        ({"ECID": [{"id": "1"}], "ecid": [{"id": "1"}, {"id": "2"}]}, ["ecid:1", "ecid:2"], "ecid:1"),
        ({"A": [{"id": "1", "authenticatedState": "ambiguous", "x": []}]}, ["a:1"], "a:1"),
        ({"A": [{"id": "x" * 1024}]}, ["a:" + "x" * 1024], "a:" + "x" * 1024),
    ],
)
def test_identities_are_distinct_and_in_order(found: Any, identities: list[str], primary: str) -> None:
    """Namespaces in lower case; the primary one, else the least, names a profile."""
    read = parse_update(msgspec.json.encode({"identityMap": found}))
    assert read.identities == [Identity(*text.split(":")) for text in identities]
    assert read.primary == Identity(*primary.split(":"))


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, (True, None, None)),
        ({"status": "realized", "version": "1"}, (True, None, None)),
        ({"status": "existing", "lastQualificationTime": T1}, (True, "2025-01-01T00:00:00.000Z", None)),
        ({"status": "exited", "timestamp": T1}, (False, "2025-01-01T00:00:00.000Z", None)),
        ({"lastQualificationTime": None, "timestamp": T1}, (True, "2025-01-01T00:00:00.000Z", None)),
        ({"validUntil": "2025-01-01T01:00:00+01:00"}, (True, None, "2025-01-01T00:00:00.000Z")),
        ({"validUntil": None}, (True, None, None)),
    ],
)
def test_memberships(stated: Any, expected: tuple[bool, str | None, str | None]) -> None:
    """Status defaults to realized, existing is in; times become canonical; old records say timestamp."""
    read = parse_update(update("ECID:1", into={"aam/vip": stated}))
    assert read.memberships == [MembershipChange("aam", "vip", *expected)]


def test_no_memberships() -> None:
    """None, null and empty maps state nothing."""
    for found in (b"", b',"segmentMembership":null', b',"segmentMembership":{}', b',"segmentMembership":{"ups":{}}'):
        assert parse_update(b"{" + ONE + found + b"}").memberships == []


def read_or_refused(text: bytes) -> Update | str:
    """The update, or the reason."""
    try:
        return parse_update(text, stamped=True)
    except UpdateRefusedError as error:
        return error.reason


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    """No bytes raise anything but the one error."""
    for frame in (b"%b", with_field(b"%b"), b'{"identityMap":%b}', b"{" + ONE + b',"segmentMembership":%b}'):
        found = read_or_refused(frame % body)
        assert isinstance(found, Update) or found in REFUSALS


NAMES = st.sampled_from(["id", "status", "lastQualificationTime", "ups", "ECID", "a", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(T1) | st.just("exited"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON, JSON)
def test_any_shape_is_read_or_refused(identity_map: Any, memberships: Any, update_id: Any) -> None:
    """No shape of the parts that are looked into raises anything but the one error, and the rest passes."""
    record = {"identityMap": identity_map, "segmentMembership": memberships, "_id": update_id, "x": [1]}
    found = read_or_refused(msgspec.json.encode(record))
    if isinstance(found, str):
        assert found in REFUSALS
        return
    assert found.attributes == {"x": [1]}
    assert found.primary in found.identities
    assert sorted(set(found.identities)) == found.identities
