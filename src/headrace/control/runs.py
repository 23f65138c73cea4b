"""Use cases: dataflow runs. A streaming flow has one run for each hour, from the engine's own counters.

Shapes: Flow Service API, runs. Figures are whole for their hour, never differences, so putting them down twice, or
again after a restart, changes nothing.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec

from headrace.core.report import Report

from .access import CONNECT, Caller, Permission
from .filters import storable
from .lists import Page, listed
from .paging import Listing, Order
from .problems import Code, problem, refuse
from .resources import Kind, Resource, Scope, stamped
from .run_figures import HOUR_MS, STEPS_MS, RunSums, SumsQuery
from .service import Control, Written, body_of, found, reading, writing
from .store import Query

__all__ = [
    "HOUR_MS", "OLDEST", "Count", "Figures", "create_run", "get_run", "hours_of", "list_runs", "metrics",
    "record_run", "run_id", "sum_audiences", "sum_runs",
]  # fmt: skip

OLDEST: Final = (Order("createdAt", False),)
"""The order in which runs are swept."""
_IDS: Final = uuid.UUID("6f1f2a44-2f0c-4f5b-9a3c-6f7f3b6f0a10")
_VIEW: Final = Permission.VIEW_DESTINATIONS
_AUDIENCE: Final = "segment:"
_MOST_HOURS: Final = 7 * 24
_STATUS: Final = {"inProgress": "Processing", "success": "Success", "failed": "Failed"}


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Records with one reason.

    Attributes:
        code: Of the closed list of reasons.
        message: One sentence.
        count: How many.
    """

    code: str
    message: str
    count: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow did within one hour, so far.

    Attributes:
        received: Profile changes that the flow looked at.
        delivered: Records that the destination acknowledged.
        failed: Records that became dead letters.
        skipped: Profile changes that are not exported, with their reasons in *skips*.
        input_bytes: Of the changes.
        output_bytes: Of the records delivered.
        least_ms: Shortest time from accepted to acknowledged; None without a record.
        greatest_ms: Longest such time.
        average_ms: Mean such time.
        failures: Reasons of what failed.
        skips: Reasons of what was skipped.
        segments: Audience id to records delivered about a change of it.
        completed: The hour is over.
    """

    received: int = 0
    delivered: int = 0
    failed: int = 0
    skipped: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    least_ms: int | None = None
    greatest_ms: int | None = None
    average_ms: int | None = None
    failures: tuple[Count, ...] = ()
    skips: tuple[Count, ...] = ()
    segments: dict[str, int] = {}
    completed: bool = False


def run_id(scope: Scope, flow_id: str, start_ms: int) -> str:
    """The id of a flow's run for the hour that begins then; the same each time."""
    return str(uuid.uuid5(_IDS, f"{scope.org}/{scope.sandbox}/{flow_id}/{start_ms}"))


def hours_of(flow_id: str) -> str:
    """What the runs that the engine's counters make of a flow refer to, beside the flow."""
    return f"hours:{flow_id}"


def list_runs(control: Control, caller: Caller, listing: Listing) -> Page:
    """A part of the runs; needs View Destinations."""
    with reading(control, caller, _VIEW) as transaction:
        return listed(
            transaction,
            caller,
            Kind.RUN,
            listing,
            lambda records: [stamped(each, caller.sandbox_id) for each in records],
        )


def get_run(control: Control, caller: Caller, run: str) -> dict[str, Any]:
    """One run; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        return stamped(found(transaction, Kind.RUN, caller.scope, run), caller.sandbox_id)


def sum_runs(
    control: Control, caller: Caller, *, since_ms: int, step_ms: int = HOUR_MS, flow: str | None = None
) -> RunSums:
    """The figures of all runs since a time: by flow, by stretch of time and by reason; needs View Destinations.

    Args:
        control: The parts.
        caller: Who.
        since_ms: Epoch milliseconds; the first stretch is the one that it lies in.
        step_ms: Length of a stretch: an hour, six, or a day; each begins at a multiple of it.
        flow: Only of this flow; None for all.

    Raises:
        UseCaseError: 2120-403 or 1451-400.
    """
    with reading(control, caller, _VIEW) as transaction:
        if step_ms not in STEPS_MS:
            raise problem(
                Code.BAD_PARAMETER, f"step_ms must be one of {', '.join(map(str, STEPS_MS))}, not {step_ms}"
            )
        if flow is not None and not storable(flow):
            return RunSums(flows=[], slots=[], reasons=[])
        query = SumsQuery(scope=caller.scope, since_ms=since_ms - since_ms % step_ms, step_ms=step_ms, flow=flow)
        return transaction.sums(query)


def sum_audiences(control: Control, caller: Caller, flow_id: str, *, since_ms: int) -> dict[str, int]:
    """Audience id to records delivered about it, over a flow's hours since a time; needs View Destinations.

    Args:
        control: The parts.
        caller: Who.
        flow_id: The flow.
        since_ms: Epoch milliseconds; the first hour is the one that it lies in. At most a week is summed.

    Raises:
        UseCaseError: 2120-403.
    """
    sums: dict[str, int] = {}
    with reading(control, caller, _VIEW) as transaction:
        if not storable(flow_id):
            return sums
        # There is one for each hour, with an id that tells which: no more are read than there are hours.
        last_ms = control.clock.now_ms() // HOUR_MS * HOUR_MS
        first_ms = max(since_ms - since_ms % HOUR_MS, last_ms - (_MOST_HOURS - 1) * HOUR_MS)
        hours = frozenset(run_id(caller.scope, flow_id, at) for at in range(first_ms, last_ms + 1, HOUR_MS))
        for run in transaction.find(Query(kind=Kind.RUN, scope=caller.scope, ids=hours)) if hours else ():
            for target in run.body["metrics"]["recordSummary"]["targetSummaries"]:
                for each in target["entitySummaries"]:
                    audience = each["id"].removeprefix(_AUDIENCE)
                    sums[audience] = sums.get(audience, 0) + each["outputRecordCount"]
    return sums


def create_run(control: Control, caller: Caller, body: Any) -> Written:
    """Put down a run by a client's own account; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1405-400, 1427-400 for a user's token, 1430-400 or 3000-400.
    """
    with writing(control, caller, *CONNECT) as change:
        if caller.kind == "user":
            raise problem(Code.RUNS_BY_SERVICES, "The user token is unauthorized to create/update flow runs.")
        given = body_of(body, ("flowId", "status", "params"))
        report = Report()
        flow_id = report.text(given, "flowId", "", required=True)
        status = report.text(given, "status", "")
        params = report.members(given.get("params"), "params", given.get("params") or ())
        refuse(report.mistakes)
        flow = change.transaction.get(Kind.FLOW, caller.scope, flow_id)
        if flow is None:
            raise problem(Code.FLOW_UNKNOWN, f"Flow not found with id {flow_id[:128]}.")
        document = {
            "flowId": flow.id,
            "flowSpec": flow.body["flowSpec"],
            "status": status or "active",
            "params": dict(params),
            "metrics": metrics(flow, Figures(), control.clock.now_ms(), None),
            "activities": [],
        }
        made = change.insert(
            Resource(
                kind=Kind.RUN,
                id=control.new_id(),
                scope=caller.scope,
                state="inProgress",
                body=document,
                refers=(flow.id,),
            )
        )
        return Written(id=made.id, etag=made.etag)


def record_run(
    control: Control, scope: Scope, flow_id: str, start_ms: int, figures: Figures, notes: dict[str, Any] | None = None
) -> str | None:
    """Put down what a flow did within an hour; for the engine, whose counters they are.

    Args:
        control: The parts.
        scope: The flow's.
        flow_id: The flow.
        start_ms: Start of the hour, epoch milliseconds; floored to it.
        figures: Of the whole hour so far.
        notes: What whoever counts keeps with the run, put down in the same moment; not shown.

    Returns:
        The run's id; None when the flow is gone.
    """
    start_ms -= start_ms % HOUR_MS
    run = run_id(scope, flow_id, start_ms)
    state = (
        "inProgress" if not figures.completed else "failed" if figures.failed and not figures.delivered else "success"
    )
    now_ms = control.clock.now_ms()
    completed_ms = start_ms + HOUR_MS if figures.completed else None
    with control.store.write() as transaction:
        flow = transaction.get(Kind.FLOW, scope, flow_id)
        if flow is None:
            return None
        old = transaction.get(Kind.RUN, scope, run)
        document = {
            "flowId": flow.id,
            "flowSpec": flow.body["flowSpec"],
            "providerRefId": run,
            "metrics": metrics(flow, figures, start_ms, completed_ms),
            "activities": [],
        }
        kept = notes if notes is not None else (old.notes if old else {})
        if old is not None and (old.body, old.state) == (document, state):
            if kept != old.notes:
                transaction.note(old, kept)
            return run
        made = Resource(
            kind=Kind.RUN, id=run, scope=scope, state=state, created_ms=old.created_ms if old else start_ms,
            updated_ms=now_ms, created_by="system", updated_by="system", created_client="system",
            updated_client="system", etag=f'"{control.new_id()}"', body=document,
            refers=(flow.id, hours_of(flow.id)), notes=kept,
        )  # fmt: skip
        if old is None:
            transaction.insert(made)
        else:
            transaction.replace(made, old.etag)
        last = flow.notes.get("lastRunDetails", {})
        if last.get("startedAtUTC", 0) <= start_ms:
            details = {"id": run, "state": state, "startedAtUTC": start_ms}
            if completed_ms is not None:
                details["completedAtUTC"] = completed_ms
            transaction.note(flow, {**flow.notes, "lastRunDetails": details})
    return run


def metrics(flow: Resource, figures: Figures, started_ms: int, completed_ms: int | None) -> dict[str, Any]:
    """Figures in the shape of a run's ``metrics``."""
    state = (
        "inProgress" if completed_ms is None else "failed" if figures.failed and not figures.delivered else "success"
    )
    entities = [
        {"id": f"{_AUDIENCE}{each}", "createdRecordCount": count, "outputRecordCount": count}
        for each, count in sorted(figures.segments.items())
    ]
    duration: dict[str, int] = {"startedAtUTC": started_ms}
    if completed_ms is not None:
        duration["completedAtUTC"] = completed_ms
    latency = {"minMs": figures.least_ms, "maxMs": figures.greatest_ms, "avgMs": figures.average_ms}
    return {
        "durationSummary": duration,
        "sizeSummary": {"inputBytes": figures.input_bytes, "outputBytes": figures.output_bytes},
        "latencySummary": {name: value for name, value in latency.items() if value is not None},
        "recordSummary": {
            "inputRecordCount": figures.received,
            "createdRecordCount": figures.delivered,
            "updatedRecordCount": 0,
            "deletedRecordCount": 0,
            "outputRecordCount": figures.delivered,
            "skippedRecordCount": figures.skipped,
            "failedRecordCount": figures.failed,
            "warningRecordCount": 0,
            "sourceSummaries": [
                {"id": each, "inputRecordCount": figures.received, "skippedRecordCount": figures.skipped}
                for each in flow.body["sourceConnectionIds"]
            ],
            "targetSummaries": [
                {
                    "id": each,
                    "createdRecordCount": figures.delivered,
                    "outputRecordCount": figures.delivered,
                    "entitySummaries": entities,
                }
                for each in flow.body["targetConnectionIds"]
            ],
            "failedInfo": [msgspec.structs.asdict(each) for each in figures.failures],
            "skippedInfo": [msgspec.structs.asdict(each) for each in figures.skips],
            "warningInfo": [],
        },
        "statusSummary": {"status": _STATUS[state], "errors": [], "activityRefs": [], "extensions": {}},
    }
