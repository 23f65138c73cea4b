"""The request body is what any library would make of it, in JSON and in CBOR (E1 to E3)."""

from __future__ import annotations

import base64
import json

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.destinations.kinesis.encoder import BODY_BYTES, NO_SHARD, CborEncoding, JsonEncoding, probe
from headrace.testing import cbor as other
from tests.destinations.contract import Rec

RECS = st.lists(st.builds(Rec, st.text(min_size=1, max_size=8), st.binary(max_size=30)), min_size=1, max_size=6)


@settings(deadline=None)
@given(RECS)
@example([Rec('","', b""), Rec('",', b'"}'), Rec("\\", b"\x00"), Rec("\x00\x1f\x7f", b"")])
def test_e1_e2_the_body_says_what_was_given(sent: list[Rec]) -> None:
    """Decoded by another library, and each field valid base64, in order."""
    body = json.loads(JsonEncoding("stream").put_records(sent))
    assert list(body) == ["StreamName", "Records"]
    assert body["StreamName"] == "stream"
    assert [(r["PartitionKey"], base64.b64decode(r["Data"], validate=True)) for r in body["Records"]] == sent
    assert all(list(r) == ["Data", "PartitionKey"] for r in body["Records"])


def test_e1_the_body_is_golden() -> None:
    """These very bytes go out: compact, data first."""
    body = JsonEncoding("s").put_records([Rec("k", b"{}"), Rec("č", b"")])
    assert body == (
        '{"StreamName":"s","Records":[{"Data":"e30=","PartitionKey":"k"},{"Data":"","PartitionKey":"č"}]}'.encode()
    )


@settings(deadline=None)
@given(RECS)
@example([Rec("k" * n, b"d" * n) for n in (1, 23, 24, 255, 256)])
@example([Rec("k", b"d" * n) for n in (65_535, 65_536, 70_000)])
@example([Rec("k", b"1")] * 500)
def test_e1_e2_cbor_says_what_was_given(sent: list[Rec]) -> None:
    """To two readers that know nothing of each other."""
    body = CborEncoding("stream").put_records(sent)
    wanted = {"StreamName": "stream", "Records": [{"Data": r.data, "PartitionKey": r.key} for r in sent]}
    assert cbor2.loads(body) == wanted
    assert other.decode(body) == wanted
    assert body == cbor2.dumps(wanted)


@pytest.mark.parametrize("encoding", [JsonEncoding, CborEncoding])
@pytest.mark.parametrize("count", [2, 500])
def test_e3_what_fits_has_a_body_within_the_bound(
    encoding: type[JsonEncoding] | type[CborEncoding], count: int
) -> None:
    """With a key of 256 characters of three bytes each, and with one of a single character."""
    for key in ("k", "馬" * 256):
        room = encoding.fits - count * len(key.encode())
        data = b"x" * (room // count)
        body = encoding("s" * 128).put_records([Rec(key, data)] * count)
        assert BODY_BYTES * 0.9 < len(body) <= BODY_BYTES


@pytest.mark.parametrize("encoding", [JsonEncoding, CborEncoding])
def test_an_encoder_can_be_used_again(encoding: type[JsonEncoding] | type[CborEncoding]) -> None:
    """Nothing of one request is left in the next."""
    made = encoding("s")
    first = made.put_records([Rec("a", b"1"), Rec("b", b"2")])
    assert made.put_records([Rec("z", b"3")]) == encoding("s").put_records([Rec("z", b"3")])
    assert made.put_records([Rec("a", b"1"), Rec("b", b"2")]) == first


@pytest.mark.parametrize("encoding", [JsonEncoding, CborEncoding])
def test_half_a_surrogate_pair_cannot_be_encoded(encoding: type[JsonEncoding] | type[CborEncoding]) -> None:
    """The writer is told so, rather than another key being written."""
    with pytest.raises(UnicodeEncodeError):
        encoding("s").put_records([Rec("\udc00", b"")])


def test_a_probe_is_a_dry_run_or_a_key_of_no_shard_never_neither() -> None:
    """Whatever is sent by a check cannot be a record."""
    assert json.loads(probe("s", many=False, dry_run=True))["DryRun"] is True
    assert json.loads(probe("s", many=True, dry_run=True))["DryRun"] is True
    single = json.loads(probe("s", many=False, dry_run=False))
    (entry,) = json.loads(probe("s", many=True, dry_run=False))["Records"]
    assert single["ExplicitHashKey"] == entry["ExplicitHashKey"] == NO_SHARD
    assert int(NO_SHARD) == 2**128
    assert "DryRun" not in single
