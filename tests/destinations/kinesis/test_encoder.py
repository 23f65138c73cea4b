"""The request body is what any JSON library would make of it (E1, E2)."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.destinations.kinesis.encoder import NO_SHARD, JsonEncoding, probe
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


def test_an_encoder_can_be_used_again() -> None:
    """Nothing of one request is left in the next."""
    encoding = JsonEncoding("s")
    first = encoding.put_records([Rec("a", b"1"), Rec("b", b"2")])
    assert b"a" not in encoding.put_records([Rec("z", b"3")]).replace(b"Data", b"").replace(b"Stream", b"").replace(
        b"PartitionKey", b""
    ).replace(b"Name", b"")
    assert encoding.put_records([Rec("a", b"1"), Rec("b", b"2")]) == first


def test_half_a_surrogate_pair_cannot_be_encoded() -> None:
    """The writer is told so, rather than another key being written."""
    with pytest.raises(UnicodeEncodeError):
        JsonEncoding("s").put_records([Rec("\udc00", b"")])


def test_a_probe_is_a_dry_run_or_a_key_of_no_shard_never_neither() -> None:
    """Whatever is sent by a check cannot be a record."""
    assert json.loads(probe("s", many=False, dry_run=True))["DryRun"] is True
    assert json.loads(probe("s", many=True, dry_run=True))["DryRun"] is True
    single = json.loads(probe("s", many=False, dry_run=False))
    (entry,) = json.loads(probe("s", many=True, dry_run=False))["Records"]
    assert single["ExplicitHashKey"] == entry["ExplicitHashKey"] == NO_SHARD
    assert int(NO_SHARD) == 2**128
    assert "DryRun" not in single
