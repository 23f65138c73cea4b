"""Read a flow's selectors: which audiences and which attributes it maps.

Shapes: Flow Service API, ``transformations[0].params.segmentSelectors`` and ``.profileSelectors``.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from . import flow as _flow
from . import paths as _paths
from .report import Report, shown

SEGMENT_KEYS: Final = (
    *("id", "name", "description", "namespace", "systemSegmentId", "schedule", "createTime", "updateTime"),
)
_SEGMENT_BATCH_KEYS: Final = ("filenameTemplate", "fileNameTemplate", "exportMode", "enrichmentInfo")
SCHEDULE_KEYS: Final = ("startDate", "endDate")
_SCHEDULE_BATCH_KEYS: Final = ("frequency", "triggerType", "startTime", "exportMode", "interval", "timeUnit")
_PATH_KEYS: Final = ("path", "operator", "mapping", "identity")

_ALWAYS_SENT: Final = ("segmentMembership", "identityMap")
_RESERVED: Final = "_headrace"
_DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime.date(1970, 1, 1)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EPOCH_SECONDS: Final = re.compile(r"\d{1,12}", re.ASCII)


def segments(
    report: Report, value: Any, place: str, known: Mapping[str, _flow.Segment] | None
) -> dict[str, dict[str, _flow.MappedSegment]]:
    """Read the mapped audiences.

    Args:
        report: Takes the mistakes.
        value: The member ``segmentSelectors``.
        place: Where it stands.
        known: Audience id to audience; None accepts any id.

    Returns:
        Namespace to audience id to mapping.
    """
    mapped: dict[str, dict[str, _flow.MappedSegment]] = {}
    seen: dict[str, str] = {}
    for at, selector in _values(report, value, place, "PLATFORM_SEGMENT", SEGMENT_KEYS, _SEGMENT_BATCH_KEYS):
        segment_id = report.text(selector, "id", at, required=True)
        segment = _known(report, selector, at, known) if segment_id else None
        namespace = _namespace(report, selector, at, segment)
        report.text(selector, "description", at)
        name = report.text(selector, "name", at)
        made = _mapped(report, selector, at, segment, name)
        report.unique(f"{namespace}/{segment_id}" if segment_id else "", seen, f"{at}.id")
        mapped.setdefault(namespace, {})[segment_id] = made
    return mapped


def _known(
    report: Report, selector: Mapping[str, Any], at: str, known: Mapping[str, _flow.Segment] | None
) -> _flow.Segment | None:
    segment = known.get(selector["id"]) if known is not None else None
    if known is not None and segment is None:
        ids = [shown(segment_id) for segment_id in list(known)[:10]]
        more = f" and {len(known) - 10} more" if len(known) > 10 else ""
        report.mistake(f"{at}.id", f"{shown(selector['id'])} is not among the segments", ", ".join(ids) + more)
    return segment


def _namespace(report: Report, selector: Mapping[str, Any], at: str, segment: _flow.Segment | None) -> str:
    stated = report.text(selector, "namespace", at)
    own = segment.namespace if segment else ""
    if stated and own and stated != own:
        report.mistake(
            f"{at}.namespace", f"{shown(selector['namespace'])} is not the namespace that the segment states"
        )
    return stated or own or _flow.PLATFORM_NAMESPACE


def _mapped(
    report: Report, selector: Mapping[str, Any], at: str, segment: _flow.Segment | None, name: str
) -> _flow.MappedSegment:
    report.text(selector, "systemSegmentId", at)
    where = f"{at}.schedule"
    schedule = report.members(selector.get("schedule"), where, SCHEDULE_KEYS, _SCHEDULE_BATCH_KEYS)
    start = _day(report, schedule, "startDate", where)
    end = _day(report, schedule, "endDate", where)
    if start and end and end < start:
        report.mistake(f"{where}.endDate", f"{end.isoformat()} is before startDate {start.isoformat()}")
    return _flow.MappedSegment(
        name=(segment.name if segment else "") or name,
        created_at_ms=segment.created_at_ms if segment else None,
        updated_at_ms=segment.updated_at_ms if segment else None,
        mapping_created_ms=_seconds(report, selector, "createTime", at),
        mapping_updated_ms=_seconds(report, selector, "updateTime", at),
        start_date=start.isoformat() if start else None,
        end_date=end.isoformat() if end else None,
        start_ms=(start - _EPOCH).days * _DAY_MS if start else None,
        end_ms=((end - _EPOCH).days + 1) * _DAY_MS if end else None,
    )


def _day(report: Report, schedule: Mapping[str, Any], key: str, place: str) -> datetime.date | None:
    text = report.text(schedule, key, place)
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            return datetime.date.fromisoformat(text)
    except ValueError:
        pass
    report.mistake(f"{place}.{key}", f"{shown(schedule[key])} is not a date", "YYYY-MM-DD")
    return None


def _seconds(report: Report, selector: Mapping[str, Any], key: str, place: str) -> int | None:
    """Epoch milliseconds of a member that AEP writes as a text of epoch seconds."""
    value = selector.get(key)
    if value is None:
        return None
    if not isinstance(value, bool) and isinstance(value, int | str) and _EPOCH_SECONDS.fullmatch(str(value)):
        return int(value) * 1000
    report.mistake(f"{place}.{key}", f"{shown(value)} is not a time", 'seconds since 1970 as text: "1767225600"')
    return None


def attributes(report: Report, value: Any, place: str) -> list[str]:
    """Read the mapped attributes: canonical paths in mapping order, those always sent left out."""
    mapped: list[str] = []
    seen: dict[str, str] = {}
    places: dict[tuple[str, ...], str] = {}
    batch_keys = ("mandatoryFields", "primaryFields")
    for at, selector in _values(report, value, place, "JSON_PATH", _PATH_KEYS, (), batch_keys):
        report.choice(selector, "operator", at, ("EXISTS",))
        text = report.text(selector, "path", at, required=True)
        at += ".path"
        steps = _paths.parse(text) if text else _paths.PathMistake(0, "")
        if isinstance(steps, _paths.PathMistake):
            if text:
                problem = f"at position {steps.position}, {steps.problem}"
                report.mistake(at, f"{shown(selector['path'])} is not a path: {problem}")
        elif steps[0] == _RESERVED:
            report.mistake(at, f"{_RESERVED} is the block that Headrace itself may add")
        elif steps[0] in _ALWAYS_SENT:
            report.warn(at, f"{steps[0]} is always sent, so mapping it does nothing")
        else:
            path = _paths.dotted(steps)
            report.unique(path, seen, at)
            places[steps] = at
            mapped.append(path)
    for steps, at in places.items():
        for length in range(1, len(steps)):
            if steps[:length] in places:
                report.warn(at, f"does nothing, since {places[steps[:length]]} maps all of it already")
    return mapped


def _values(
    report: Report,
    value: Any,
    place: str,
    selector_type: str,
    known: tuple[str, ...],
    accepted: tuple[str, ...],
    beside: tuple[str, ...] = (),
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and members of the ``value`` of each selector that is of the right type."""
    outer = report.members(value, place, ("selectors",), beside)
    for index, selector in enumerate(report.elements(outer, "selectors", place)):
        at = f"{place}.selectors[{index}]"
        if not isinstance(selector, Mapping):
            report.mistake(at, "must be an object with type and value")
            continue
        report.members(selector, at, ("type", "value"))
        if selector.get("type") != selector_type:
            report.mistake(f"{at}.type", f"{shown(selector.get('type'))} is not known", selector_type)
            continue
        if not isinstance(selector.get("value"), Mapping):
            report.mistake(f"{at}.value", "must be an object")
            continue
        yield f"{at}.value", report.members(selector["value"], f"{at}.value", known, accepted)
