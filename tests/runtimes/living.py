"""Lives of an engine whose source does not end: wait until it has come to rest, move the clock, ask for things."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from headrace.bootstrap.acting import acting
from headrace.clock import Manual
from headrace.core.envelope import Envelope, decode
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.refold import Comparison, refold
from headrace.state import reading, records
from headrace.state.keys import END, PROFILE
from headrace.state.records import DeadLetter
from tests.runtimes.road import KEY, KEYS, Disk, Lines, Road

_STEP_S = 0.05
_SMALL_S = 0.01
_TURNS = 20


async def rest(road: Road, engine: Engine, *, within_s: float = 600.0) -> None:
    """Until all that was read is decided, and all that can be sent is settled and stored.

    The clock, moved by hand, goes on in small steps meanwhile.
    """
    for _ in range(int(within_s / _STEP_S)):
        await _turn()
        if _still(road, engine):
            return
        road.clock.advance(_STEP_S)
    raise AssertionError("did not come to rest")


async def _turn() -> None:
    """Some turns of the loop, in which all that needs no time is done; the disk needs none (``tests.inline``)."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def moves_on(road: Road, seconds: float = 0.2) -> None:
    """Time passes in small steps, for acts that do not wait until the engine has come to rest."""
    for _ in range(round(seconds / _SMALL_S)):
        await _turn()
        road.clock.advance(_SMALL_S)


def _still(road: Road, engine: Engine) -> bool:
    totals = engine.totals.flows
    return (
        road.source.acknowledged >= len(road.source.bodies)
        and not engine.within.ready()
        and all(flow.stuck or not totals[flow_id].pending for flow_id, flow in engine.flows.items())
    )


def live(road: Road, *acts: Callable[[Engine], Any], cut: int | None = None) -> list[Any]:
    """One life: after each act the engine comes to rest; the acts' answers."""
    answers: list[Any] = []

    async def use(engine: Engine) -> None:
        running = asyncio.create_task(engine.run())

        async def through() -> None:
            await engine.started.wait()
            await rest(road, engine)
            for act in acts:
                answer = act(engine)
                answers.append(await answer if isinstance(answer, Awaitable) else answer)
                await rest(road, engine)
            engine.stop(0.0)

        acting = asyncio.create_task(through())
        await asyncio.wait((running, acting), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await acting
            await _wound(road, running)
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        await running

    road.life(use, cut=cut)
    return answers


async def _wound(road: Road, running: asyncio.Task[Any]) -> None:
    while not running.done():
        await _turn()
        road.clock.advance(_STEP_S)


def quiet(disk: Disk, bodies: list[bytes], *configuration: Any, **options: Any) -> Road:
    """A road whose source goes on waiting at its end, on a clock that is moved by hand."""
    source = Lines(bodies, sizes=lambda: 10, ends=False)
    return Road(disk, source, *configuration, clock=Manual(), linger_s=0.005, **options)


def asked(request: str, **arguments: Any) -> Callable[[Engine], Any]:
    """Ask the engine as the socket does."""
    return lambda engine: acting(engine._state, KEYS, engine)[request](arguments)


def more(road: Road, bodies: list[bytes]) -> Callable[[Engine], None]:
    """Further updates come in."""
    return lambda _: road.source.bodies.extend(bodies)


def passes(road: Road, seconds: float) -> Callable[[Engine], None]:
    """Time passes."""
    return lambda _engine: road.clock.advance(seconds)


def profiles(road: Road) -> list[Envelope]:
    """All that are stored."""
    return [decode(value) for _, value in road.disk.open().scan(*KEYS.space(PROFILE))]


def timers(road: Road) -> dict[int, list[str]]:
    """Due time to profiles of every timer that is stored."""
    found: dict[int, list[str]] = {}
    for key, value in road.disk.open().scan(*KEYS.space(END)):
        ids = [records.unpack_id(value, index) for index in range(len(value) // records.ID_BYTES)]
        found.setdefault(int.from_bytes(key[-16:-8], "big"), []).extend(ids)
    return found


def letters(road: Road, **query: Any) -> list[DeadLetter]:
    """The dead letters that are stored."""
    return list(reading.dead_letters(road.disk.open(), KEYS, limit=10_000, **query))


def same(road: Road) -> Comparison:
    """The journal comes to what is stored, and the totals add up; how far the journal was compared."""
    compared = refold(road.disk.open(), KEYS, KEY)
    assert compared.same, compared
    totals = road.engine.totals
    assert totals.dead_letters == len(letters(road))
    assert totals.received == totals.accepted + totals.repeats + sum(totals.refused.values())
    for f in totals.flows.values():
        assert f.exported == f.delivered + f.dead_lettered + f.pending + sum(f.discarded.values())
        assert f.accepted == f.exported + sum(f.held.values())
    return compared
