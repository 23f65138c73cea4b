"""The figures of runs in tables: a row for each run, and one for each flow and stretch, made of the runs in it.

A stretch is made anew from the shorter ones in it whenever one of them changes: it cannot drift away from them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from .resources import Resource, Scope
from .run_figures import HOUR_MS, STEPS_MS, SUMMED, Reason, RunFigures, RunSums, SumsQuery, counted, figures_of
from .schema import FIGURES, REASONS

_PLACE: Final = ("org", "sandbox", "step_ms", "start_ms", "flow", "id")


def put(connection: sa.Connection, run: Resource) -> None:
    """Keep the figures of a run that is new or was dropped."""
    figures, reasons = figures_of(run)
    place = _place(run, figures)
    connection.execute(sa.insert(FIGURES), [place | _columns(figures)])
    if reasons:
        connection.execute(sa.insert(REASONS), [place | msgspec.structs.asdict(each) for each in reasons])
    _gather(connection, run.scope, figures)


def drop(connection: sa.Connection, run: Resource) -> None:
    """Forget the figures of a run."""
    figures, _ = figures_of(run)
    place = {f"{name}_": value for name, value in _place(run, figures).items()}
    for statement in _dropping():
        connection.execute(statement, place)
    _gather(connection, run.scope, figures)


def _place(run: Resource, figures: RunFigures) -> dict[str, Any]:
    return {
        "org": run.scope.org, "sandbox": run.scope.sandbox, "step_ms": HOUR_MS, "start_ms": figures.start_ms,
        "flow": figures.flow, "id": run.id,
    }  # fmt: skip


def _columns(figures: RunFigures) -> dict[str, Any]:
    kept = (*SUMMED, "greatest_ms", "updated_ms")
    return {name: getattr(figures, name) for name in kept}


@functools.cache
def _dropping() -> tuple[sa.Delete, ...]:
    return tuple(
        sa.delete(table).where(*(table.c[name] == sa.bindparam(f"{name}_") for name in _PLACE))
        for table in (FIGURES, REASONS)
    )


def _gather(connection: sa.Connection, scope: Scope, changed: RunFigures) -> None:
    """Make the stretches that an hour lies in, each from the shorter ones in it."""
    for shorter_ms, step_ms in itertools.pairwise(STEPS_MS):
        start_ms = changed.start_ms - changed.start_ms % step_ms
        parts = range(start_ms, start_ms + step_ms, shorter_ms)
        values = {
            "org_": scope.org, "sandbox_": scope.sandbox, "flow_": changed.flow, "step_": step_ms, "start_": start_ms,
            "shorter_": shorter_ms, **{f"part_{number}": part for number, part in enumerate(parts)},
        }  # fmt: skip
        for statement in _gathering(len(parts)):
            connection.execute(statement, values)


@functools.cache
def _gathering(parts: int) -> tuple[sa.Delete | sa.Insert, ...]:
    """Statements that remove a stretch and make it of so many shorter ones: figures, then reasons."""
    reasons = REASONS.c
    return (
        *_gather_one(FIGURES, parts, {**dict(zip(SUMMED, map(_whole, SUMMED), strict=True)), **_greatest()}, ()),
        *_gather_one(
            REASONS,
            parts,
            {"kind": reasons.kind, "code": reasons.code, "message": sa.func.max(reasons.message), "count": _count()},
            (reasons.kind, reasons.code),
        ),
    )


def _gather_one(
    table: sa.Table, parts: int, values: Mapping[str, sa.ColumnElement[Any]], groups: Sequence[sa.ColumnElement[Any]]
) -> tuple[sa.Delete, sa.Insert]:
    c = table.c
    step, start = sa.bindparam("step_", type_=sa.BigInteger), sa.bindparam("start_", type_=sa.BigInteger)
    whose = [c[name] == sa.bindparam(f"{name}_") for name in ("org", "sandbox", "flow")]
    # Each named, not a range: the key leads to a flow's rows of one start, not of many.
    within = (
        c.step_ms == sa.bindparam("shorter_"),
        c.start_ms.in_([sa.bindparam(f"part_{number}", type_=sa.BigInteger) for number in range(parts)]),
    )
    # PostgreSQL does not know the type of a parameter that is selected.
    place = (c.org, c.sandbox, sa.cast(step, sa.BigInteger), sa.cast(start, sa.BigInteger), c.flow, sa.literal(""))
    made = sa.select(*place, *values.values()).where(*whose, *within).group_by(c.org, c.sandbox, c.flow, *groups)
    return (
        sa.delete(table).where(*whose, c.step_ms == step, c.start_ms == start),
        sa.insert(table).from_select([*_PLACE, *values], made),
    )


def _whole(name: str) -> sa.ColumnElement[int]:
    # PostgreSQL sums whole numbers to numeric ones.
    return sa.cast(sa.func.sum(FIGURES.c[name]), sa.BigInteger)


def _count() -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(REASONS.c["count"]), sa.BigInteger)


def _greatest() -> dict[str, sa.ColumnElement[Any]]:
    return {name: sa.func.max(FIGURES.c[name]) for name in ("greatest_ms", "updated_ms")}


def sums(connection: sa.Connection, query: SumsQuery) -> RunSums:
    """The sums of a query."""
    values: dict[str, Any] = {
        "org_": query.scope.org, "sandbox_": query.scope.sandbox, "step_": query.step_ms, "since_": query.since_ms,
    }  # fmt: skip
    if query.flow is not None:
        values["flow_"] = query.flow
    by_flow, by_slot, by_reason = _summing(one_flow=query.flow is not None)
    names = (*SUMMED, *_greatest())

    def found(statement: sa.Select[Any], key: str) -> list[RunFigures]:
        rows = connection.execute(statement, values)
        return [RunFigures(**dict(zip((key, *names), row, strict=True))) for row in rows]

    reasons = [
        Reason(kind=kind, code=code, message=message, count=count)
        for kind, code, message, count in connection.execute(by_reason, values)
    ]
    return RunSums(flows=found(by_flow, "flow"), slots=found(by_slot, "start_ms"), reasons=counted(reasons))


@functools.cache
def _summing(*, one_flow: bool) -> tuple[sa.Select[Any], ...]:
    """Statements that sum by flow, by stretch and by reason."""
    figures, reasons = FIGURES.c, REASONS.c
    summed = [*map(_whole, SUMMED), *_greatest().values()]
    within = _within(FIGURES, one_flow=one_flow)
    return (
        *(
            sa.select(key, *summed).where(*within).group_by(key).order_by(key)
            for key in (figures.flow, figures.start_ms)
        ),
        sa.select(reasons.kind, reasons.code, sa.func.max(reasons.message), _count())
        .where(*_within(REASONS, one_flow=one_flow))
        # Sorted for it, mostly: codes differ earlier than kinds, and that halves the time.
        .group_by(reasons.code, reasons.kind),
    )


def _within(table: sa.Table, *, one_flow: bool) -> list[sa.ColumnElement[bool]]:
    c = table.c
    names = ("org", "sandbox", "flow") if one_flow else ("org", "sandbox")
    return [
        *(c[name] == sa.bindparam(f"{name}_") for name in names),
        c.step_ms == sa.bindparam("step_"),
        c.start_ms >= sa.bindparam("since_"),
    ]
