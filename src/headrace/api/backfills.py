"""Backfills, re-sends, dead letters and test records of flows: what the engine is told to do."""

from __future__ import annotations

from typing import Any, Final

from headrace.control import backfills, dead_letters, trials
from headrace.control.access import ACTIVATE, Permission

from .call import Answer, Call
from .operation import Operations, Parameter
from .schemas import FREE, ref

operations: Final = Operations("", "Backfills and dead letters")
_FLOW: Final = "/headrace/flows/{id}"
_VIEW: Final = (Permission.VIEW_DESTINATIONS,)
_LETTERS: Final = (Permission.VIEW_DESTINATIONS, Permission.VIEW_PROFILES)


@operations("GET", f"{_FLOW}/backfills", answer=ref("Backfills"), needs=_VIEW, asks_engine=True)
def list_backfills(call: Call) -> Answer:
    """List the backfills of a flow, with how far they are."""
    found = backfills.list_backfills(call.control, call.runtime, call.caller, call.path["id"])
    return Answer(content={"backfills": found})


@operations(
    "POST",
    f"{_FLOW}/backfills",
    body=ref("NewBackfill"),
    body_required=False,
    status=201,
    answer=ref("BackfillStart"),
    needs=ACTIVATE,
    asks_engine=True,
)
def start_backfill(call: Call) -> Answer:
    """Export the profiles that are members already."""
    begun = backfills.start_backfill(call.control, call.runtime, call.caller, call.path["id"], call.body())
    return Answer(content={"flow": begun.flow, "run": begun.run}, status=201)


@operations("GET", f"{_FLOW}/backfills/{{run}}", answer=ref("Backfill"), needs=_VIEW, asks_engine=True)
def get_backfill(call: Call) -> Answer:
    """Look up a backfill."""
    where = call.path
    return Answer(content=backfills.get_backfill(call.control, call.runtime, call.caller, where["id"], where["run"]))


@operations("POST", f"{_FLOW}/backfills/{{run}}/{{action}}", answer=ref("Backfill"), needs=ACTIVATE, asks_engine=True)
def act_on_backfill(call: Call) -> Answer:
    """Pause, resume or cancel a backfill: `action` is `pause`, `resume` or `cancel`."""
    where = call.path
    found = backfills.act_on_backfill(
        call.control, call.runtime, call.caller, where["id"], where["run"], where["action"]
    )
    return Answer(content=found)


@operations(
    "POST",
    "/data/core/activation/disflowprovider/adhocrun",
    body=ref("AdhocRun"),
    answer=ref("AdhocOrder"),
    needs=ACTIVATE,
    asks_engine=True,
)
def start_adhoc_run(call: Call) -> Answer:
    """Send all members of audiences again (ad-hoc activation), one run for each flow and audience."""
    begun = backfills.resend_adhoc(call.control, call.runtime, call.caller, call.body())
    order = [
        {
            "segment": each.segments[0],
            "order": each.flow,
            "statusURL": f"{call.base_url}/headrace/flows/{each.flow}/backfills/{each.run}",
        }
        for each in begun
    ]
    return Answer(content={"order": order})


@operations(
    "GET",
    f"{_FLOW}/dead-letters",
    parameters=(
        Parameter(name="limit", words="Most of them.", schema={"type": "integer", "minimum": 1, "maximum": 1000}),
        Parameter(name="reason", words="Only with this reason."),
    ),
    answer=ref("DeadLetters"),
    needs=_LETTERS,
    asks_engine=True,
)
def list_dead_letters(call: Call) -> Answer:
    """List the exports of a flow that its destination refused for good."""
    limit: Any = call.whole("limit", 100)
    found = dead_letters.list_dead_letters(
        call.control, call.runtime, call.caller, call.path["id"], limit=limit, reason=call.one("reason")
    )
    return Answer(content={"deadLetters": found})


@operations("GET", f"{_FLOW}/dead-letters/{{letter}}", answer=FREE, needs=_LETTERS, asks_engine=True)
def get_dead_letter(call: Call) -> Answer:
    """Look up a dead letter, with its message."""
    where = call.path
    found = dead_letters.get_dead_letter(call.control, call.runtime, call.caller, where["id"], where["letter"])
    return Answer(content=found)


@operations(
    "POST",
    f"{_FLOW}/dead-letters/replay",
    body=ref("Replay"),
    body_required=False,
    answer=FREE,
    needs=ACTIVATE,
    asks_engine=True,
)
def replay_dead_letters(call: Call) -> Answer:
    """Send dead letters of a flow again, or, with `dryRun`, say what would be sent."""
    found = dead_letters.replay_dead_letters(call.control, call.runtime, call.caller, call.path["id"], call.body())
    return Answer(content=found)


@operations(
    "POST",
    "/headrace/dead-letters/replay",
    body=ref("UpdateReplay"),
    body_required=False,
    answer=ref("Replayed"),
    needs=dead_letters.REPLAY_UPDATES,
    asks_engine=True,
)
def replay_updates(call: Call) -> Answer:
    """Decide refused updates again, or, with `dryRun`, say how many would be."""
    return Answer(content=dead_letters.replay_updates(call.control, call.runtime, call.caller, call.body()))


@operations(
    "POST",
    f"{_FLOW}/test-record",
    body=ref("NewTestRecord"),
    body_required=False,
    answer=ref("TestRecord"),
    needs=ACTIVATE,
    asks_engine=True,
)
def send_test_record(call: Call) -> Answer:
    """Write one marked record to a flow's destination, past everything that is counted.

    On the stream it is told by `_headrace.cause.kind`, which is `test`. When the destination does not take it, the
    error holds its answer, and what to do.
    """
    found = trials.send_test(call.control, call.runtime, call.caller, call.path["id"], call.body())
    return Answer(content=found)
