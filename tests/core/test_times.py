"""Times: what is taken, what is refused, and that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.times import canonical, from_ms, on_wire, to_ms
from headrace.errors import UpdateRefusedError

INSTANTS = st.integers(-62_135_596_800_000, 253_402_300_799_999)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-11T21:24:39Z", "2026-01-11T21:24:39.000Z"),
        ("2026-01-11T21:24:39.5Z", "2026-01-11T21:24:39.500Z"),
        ("2026-01-11T21:24:39.123Z", "2026-01-11T21:24:39.123Z"),
        ("2026-01-11T21:24:39.1239999Z", "2026-01-11T21:24:39.123Z"),
        ("2026-01-11t21:24:39z", "2026-01-11T21:24:39.000Z"),
        ("2026-01-11 21:24:39+00:00", "2026-01-11T21:24:39.000Z"),
        ("2019-04-15T02:41:50+0000", "2019-04-15T02:41:50.000Z"),
        ("2019-04-15T02:41:50.000+0000", "2019-04-15T02:41:50.000Z"),
        ("2026-01-01T00:30:00+02:00", "2025-12-31T22:30:00.000Z"),
        ("2026-01-01T00:30:00-02:30", "2026-01-01T03:00:00.000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("0050-01-01T00:00:00+00:00", "0050-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_date_time_with_an_offset_is_read(text: str, expected: str) -> None:
    """Every form of RFC 3339, and the one without a colon that AEP's samples show."""
    assert canonical(text, "p") == expected


@pytest.mark.parametrize(
    "value",
    [
        "", "x" * 20, "2026-01-11", "2026-01-11T21:24:39", "2026-01-11T21:24Z", "2026-01-11T21:24+00:00",
        "2026-01-11T212439.0Z", "20260111T212439.00Z0", "2026-W02-7T21:24:39Z", "2026-01-11T21:24:39,5Z",
        "2026-01-11T24:00:00Z", "2026-01-11T24:00:00.000Z", "2026-01-11T24:00:00+00:00", "2026-01-11T21:60:00Z",
        "2016-12-31T23:59:60Z", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z",
        "2026-01-11T21:24:39+00:00:30", "2026-01-11T21:24:39+24:00", "2026-01-11T21:24:39 Z", " 2026-01-11T21:24:39Z",
        "2026-01-11T21:24:39Z\n", "٢026-01-11T21:24:39Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00",
        1_767_225_600, 1.5, True, None, [], {},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_time_is_refused(value: object) -> None:
    """Each is refused as bad-time, with its place and without the value."""
    with pytest.raises(UpdateRefusedError) as caught:
        canonical(value, "a.b")
    assert (caught.value.reason, caught.value.place) == ("bad-time", "a.b")
    if len(str(value)) > 8:
        assert str(value) not in str(caught.value)


@given(INSTANTS, INSTANTS)
def test_text_order_is_time_order(one: int, other: int) -> None:
    """Canonical texts compare as the instants do, and give them back exactly."""
    assert (from_ms(one) < from_ms(other)) == (one < other)
    assert to_ms(from_ms(one)) == one
    assert len(from_ms(one)) == 24
    assert canonical(from_ms(one)) == from_ms(one)


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - the zone is added
    st.integers(-1439, 1439),
)
def test_any_offset_is_the_same_instant(moment: datetime, minutes: int) -> None:
    """What Python writes for a moment in a zone is read as that moment in UTC, cut to milliseconds."""
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    there = there.replace(microsecond=there.microsecond // 1000 * 1000)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert to_ms(canonical(there.isoformat())) == (there - epoch) // timedelta(milliseconds=1)


def test_on_the_wire_times_are_whole_seconds() -> None:
    """Messages carry seconds with Z; the fraction is cut off."""
    assert on_wire("2026-01-11T21:24:39.999Z") == "2026-01-11T21:24:39Z"
