"""What can be asked of an engine that changes something: runs, pauses, replays, deletions."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.clock import System
from headrace.errors import RefusedError
from headrace.runtimes.base import FlowReport
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.letters import Wanted
from headrace.runtimes.embedded.pauses import Pauses
from headrace.runtimes.embedded.runs import Order, shown
from headrace.runtimes.embedded.trial import Answered, send_test
from headrace.runtimes.socket import Answer, ask
from headrace.settings import Settings
from headrace.state import reading
from headrace.state.base import State
from headrace.state.keys import Keys
from headrace.state.runs import Run, runs

from . import people
from .engines import build_engine
from .flows import load_configuration
from .folder import open_state

_LOOK_S: Final = 5.0
_TURN_S: Final = 0.005
NOBODY = "no process holds the data folder; start headrace serve, or name the configuration file with --config"


def acting(state: State, keys: Keys, engine: Engine | None) -> dict[str, Answer]:
    """Requests and what answers them; without an engine, those that change something are refused."""
    if engine is None:
        return {
            "backfill-status": lambda wanted: _chosen([shown(run, "") for run in runs(state, keys)], wanted),
            **dict.fromkeys(_CHANGING, _nobody),
            **_stored_flows(state, keys),
            **people.answers(state, keys, None),
        }
    return {
        **_backfills(engine),
        "backfill-mapped": lambda wanted: _mapped(engine, given(_Mapped, wanted)),
        **_flows(engine),
        "dead-letter-replay": lambda wanted: _replayed(engine, given(Wanted, wanted)),
        "send-test": lambda wanted: _sent(engine, given(_Test, wanted)),
        **people.answers(state, keys, engine),
    }


_CHANGING = (
    *("backfill-start", "backfill-pause", "backfill-resume", "backfill-cancel", "dead-letter-replay", "send-test"),
    *("profile-delete", "profile-unlink"),
)


class _Test(msgspec.Struct, kw_only=True):
    flow: str
    message: dict[str, Any] | None = None


async def _sent(engine: Engine, wanted: _Test) -> Answered:
    return await send_test(engine, wanted.flow, wanted.message)


async def _replayed(engine: Engine, wanted: Wanted) -> dict[str, Any]:
    """Begin a replay; where that is asked for, wait a while for how it comes out."""
    answer = engine.letters.replay(wanted)
    clock = System()
    until_s = clock.monotonic_s() + _LOOK_S
    # Before the engine runs there is nothing to wait for: who made it lets it run, and then reads the outcome.
    while wanted.wait and engine.started.is_set() and not answer["decided"].done and clock.monotonic_s() < until_s:
        await clock.sleep(_TURN_S)
    return answer


def _nobody(_: Mapping[str, Any]) -> Any:
    raise RefusedError(NOBODY)


def _chosen(found: list[dict[str, Any]], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    run_id, flow_id = wanted.get("run"), wanted.get("flow")
    chosen = [run for run in found if run_id in (None, "", run["run"]) and flow_id in (None, "", run["flow"])]
    return sorted(chosen, key=lambda run: (run["started_ms"], int(run["run"][1:])), reverse=True)


def _backfills(engine: Engine) -> dict[str, Answer]:
    def told(run: Run) -> dict[str, Any]:
        return shown(run, engine.backfills.waits(run))

    def start(wanted: Mapping[str, Any]) -> Any:
        return told(engine.runs.start(given(Order, wanted)))

    def status(wanted: Mapping[str, Any]) -> Any:
        return _chosen([told(run) for run in engine.runs.listed()], wanted)

    def acted(action: str) -> Answer:
        return lambda wanted: told(engine.runs.act(str(wanted.get("run", "")), action))

    return {
        "backfill-start": start,
        "backfill-status": status,
        **{f"backfill-{action}": acted(action) for action in ("pause", "resume", "cancel")},
    }


class _Mapped(msgspec.Struct, kw_only=True):
    flow: str
    segments: list[str]


async def _mapped(engine: Engine, wanted: _Mapped) -> dict[str, Any]:
    """The runs that begin by themselves for audiences that a change of a flow has mapped."""
    clock = System()
    until_s = clock.monotonic_s() + _LOOK_S
    while not engine.audiences.looked and clock.monotonic_s() < until_s:
        await clock.sleep(_TURN_S)
    return {
        "runs": engine.audiences.begun(wanted.flow, wanted.segments),
        "automatic": engine.options.auto_backfill,
    }


def _flows(engine: Engine) -> dict[str, Answer]:
    def told(flow_id: str, reports: Sequence[FlowReport] | None = None) -> dict[str, Any]:
        # While a flow changes it is not there for a moment.
        waits = engine.totals.flows[flow_id].pending if flow_id in engine.totals.flows else 0
        compiled = engine.snapshot.by_id.get(flow_id)
        gone = FlowReport(flow_id, compiled.name if compiled else "", waits, "", compiled is None or compiled.paused)
        found = engine.report().flows if reports is None else reports
        report = next((flow for flow in found if flow.flow_id == flow_id), gone)
        return {"flow": flow_id, **msgspec.to_builtins(report), **engine.pauses.told(flow_id, engine.totals)}

    def listed(wanted: Mapping[str, Any]) -> Any:
        reports = engine.report().flows
        return [told(flow_id, reports) for flow_id in _named(engine.flows, wanted)]

    async def pause(wanted: Mapping[str, Any]) -> Any:
        flow_id = str(wanted.get("flow") or "")
        await engine.in_force.pause(flow_id, str(wanted.get("mode") or ""))
        return told(flow_id)

    async def resume(wanted: Mapping[str, Any]) -> Any:
        flow_id = str(wanted.get("flow") or "")
        await engine.in_force.resume(flow_id)
        run = None
        if wanted.get("catch_up") and engine.pauses.told(flow_id, engine.totals)["catch_up"]:
            run = _caught_up(engine, flow_id).id
        return {**told(flow_id), "run": run}

    return {
        "flows": listed,
        "flow-pause": pause,
        "flow-resume": resume,
        "flow-catch-up": lambda wanted: shown(_caught_up(engine, str(wanted.get("flow") or "")), ""),
    }


def _named(flow_ids: Iterable[str], wanted: Mapping[str, Any]) -> list[str]:
    """The flow that is asked for, or all."""
    return [flow_id for flow_id in flow_ids if wanted.get("flow") in (None, "", flow_id)]


def _caught_up(engine: Engine, flow_id: str) -> Run:
    """Begin the run that makes up for what a flow has skipped."""
    first = engine.pauses.made_up(flow_id)
    return engine.runs.start(Order(flow=flow_id, kind="catch-up", changed_since=first))


def _stored_flows(state: State, keys: Keys) -> dict[str, Answer]:
    """The same on a folder that nobody holds: a pause counts from the next start."""

    def told(flow_id: str) -> dict[str, Any]:
        totals = reading.totals(state, keys)
        if flow_id not in totals.flows:
            raise RefusedError(f"there is no flow {flow_id} (allowed: {', '.join(totals.flows) or 'there is none'})")
        pauses = Pauses(state, keys)
        return {
            "flow": flow_id, "flow_id": flow_id, "name": "", "pending": totals.flows[flow_id].pending, "halted": "",
            "paused": flow_id in pauses.all, **pauses.told(flow_id, totals),
        }  # fmt: skip

    def pause(wanted: Mapping[str, Any]) -> Any:
        flow_id = str(wanted.get("flow") or "")
        told(flow_id)
        Pauses(state, keys).pause(flow_id, str(wanted.get("mode") or "keep"), System().now_ms())
        return told(flow_id)

    def resume(wanted: Mapping[str, Any]) -> Any:
        flow_id = str(wanted.get("flow") or "")
        told(flow_id)
        Pauses(state, keys).resume(flow_id)
        return {**told(flow_id), "run": None}

    return {
        "flows": lambda wanted: [told(flow_id) for flow_id in _named(reading.totals(state, keys).flows, wanted)],
        "flow-pause": pause,
        "flow-resume": resume,
        "flow-catch-up": _nobody,
    }


def given(kind: Any, wanted: Mapping[str, Any]) -> Any:
    """A request's arguments as a value; those that are None count as absent.

    Raises:
        RefusedError: One is missing, or of another type.
    """
    try:
        return msgspec.convert({name: value for name, value in wanted.items() if value is not None}, kind)
    except msgspec.ValidationError as error:
        raise RefusedError(f"the request is wrong: {error}") from None


def act(settings: Settings, config: Path | None, request: str, **arguments: Any) -> Any:
    """Ask the process that holds the folder; when nobody does, do it here and work until all is settled.

    Args:
        settings: With the data folder.
        config: Configuration file, for when nobody holds the folder; None refuses then.
        request: What is asked for.
        arguments: With which arguments.
    """
    answer = ask(settings.data_dir, request, **arguments)
    if answer is not None:
        return answer.value
    if config is None:
        raise RefusedError(NOBODY)
    import asyncio

    return asyncio.run(_alone(settings, config, request, arguments))


async def _alone(settings: Settings, config: Path, request: str, arguments: Mapping[str, Any]) -> Any:
    configuration = load_configuration(config)
    with open_state(settings) as state:
        engine = build_engine(state, configuration, settings, [])
        answer = acting(state, Keys(settings.sandbox), engine)[request](arguments)
        if inspect.isawaitable(answer):
            answer = await answer
        await engine.run(until_drained=True)
        if request == "profile-delete":
            answer = engine.deletions.told(answer["run"])
    return msgspec.json.decode(msgspec.json.encode(answer))
