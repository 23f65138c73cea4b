"""The figures of runs beside the runs, so that they can be summed."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PLACE = ("org", "sandbox", "step_ms", "start_ms", "flow", "id")
_SUMMED = ("received", "activated", "skipped", "failed", "sent_bytes", "weighed_ms", "weighed", "runs")
_HOUR_MS = 3_600_000
_AT_ONCE = 1000
_Rows = dict[tuple[Any, ...], dict[str, Any]]


def upgrade() -> None:
    """Make the tables, and fill them from the runs that are there."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    kinds: tuple[Any, ...] = (text, text, sa.BigInteger, sa.BigInteger, text, text)

    def table(name: str, *columns: sa.Column[Any]) -> sa.Table:
        place: list[sa.Column[Any]] = [
            sa.Column(each, kind, primary_key=True, autoincrement=False)
            for each, kind in zip(_PLACE, kinds, strict=True)
        ]
        return op.create_table(name, *place, *columns, sqlite_with_rowid=False)

    figures = table(
        "run_figures",
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMMED),
        sa.Column("greatest_ms", sa.BigInteger, nullable=True),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
    )
    reasons = table(
        "run_reasons",
        *(sa.Column(name, text, primary_key=True) for name in ("kind", "code")),
        sa.Column("message", text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    _fill(op.get_bind(), figures, reasons)


def _fill(connection: sa.Connection, figures: sa.Table, reasons: sa.Table) -> None:
    """Count every run for its hour, its quarter of a day and its day."""
    names = ("kind", "org", "sandbox", "id", "created_ms", "updated_ms", "body")
    records = sa.table("records", *map(sa.column, names))
    counted: _Rows = {}
    by_reason: _Rows = {}
    found = connection.execute(sa.select(*(records.c[name] for name in names[1:])).where(records.c.kind == "runs"))
    for row in found:
        _count(row, msgspec.json.decode(row.body), counted, by_reason)
    for table, rows in ((figures, counted), (reasons, by_reason)):
        made = [dict(zip(_PLACE, key, strict=False)) | values for key, values in rows.items()]
        for start in range(0, len(made), _AT_ONCE):
            connection.execute(sa.insert(table), made[start : start + _AT_ONCE])


def _count(row: Any, body: dict[str, Any], counted: _Rows, by_reason: _Rows) -> None:
    metrics = body.get("metrics") or {}
    summary, latency = metrics.get("recordSummary") or {}, metrics.get("latencySummary") or {}
    started = (metrics.get("durationSummary") or {}).get("startedAtUTC") or row.created_ms
    activated, average = summary.get("outputRecordCount", 0), latency.get("avgMs")
    values = (
        summary.get("inputRecordCount", 0), activated, summary.get("skippedRecordCount", 0),
        summary.get("failedRecordCount", 0), (metrics.get("sizeSummary") or {}).get("outputBytes", 0),
        0 if average is None else average * activated, 0 if average is None else activated, 1,
    )  # fmt: skip
    for hours in (1, 6, 24):
        step_ms = hours * _HOUR_MS
        run = row.id if hours == 1 else ""
        key = (row.org, row.sandbox, step_ms, started - started % step_ms, body.get("flowId", ""), run)
        none: dict[str, Any] = {**dict.fromkeys(_SUMMED, 0), "greatest_ms": None, "updated_ms": 0}
        kept = counted.setdefault(key, none)
        for name, value in zip(_SUMMED, values, strict=True):
            kept[name] += value
        kept["updated_ms"] = max(kept["updated_ms"], row.updated_ms)
        longest = [each for each in (kept["greatest_ms"], latency.get("maxMs")) if each is not None]
        kept["greatest_ms"] = max(longest, default=None)
        for kind, name in (("failed", "failedInfo"), ("excluded", "skippedInfo")):
            for each in summary.get(name) or ():
                one = {"kind": kind, "code": each["code"], "message": each["message"], "count": 0}
                by_reason.setdefault((*key, kind, each["code"]), one)["count"] += each["count"]
