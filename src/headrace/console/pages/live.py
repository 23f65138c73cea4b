"""Live view: the messages as they settle, by server-sent events; profiles' values are hidden."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.causes import Speaker
from headrace.console.masking import masked_message
from headrace.console.texts import Texts
from headrace.console.visit import Console, Visit, page, visit_of
from headrace.control import engine as control_engine
from headrace.control import profiles, segments
from headrace.control.access import Permission, require
from headrace.errors import RefusedError, StateError, UseCaseError

MOST_A_SECOND: Final = 20
"""Messages that one view is shown within a second; a person reads no more, and the rest is counted."""
PING_S: Final = 15.0


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [page(console, "/live", show), page(console, "/live/stream", stream)]


def show(visit: Visit) -> Response:
    """The page that the messages appear on."""
    require(visit.caller, engine.NEEDED["follow"])
    known: list[dict[str, Any]] = []
    if visit.may(Permission.VIEW_SEGMENTS):
        known = segments.list_audiences(visit.control, visit.caller, limit=1000, sort="name:asc").items
    return visit.page(
        "live.html", rows=overview.rows(visit.control, visit.caller), audiences=known, flow=visit.query("flow"),
        audience=visit.query("audience"), profile=visit.query("profile"),
    )  # fmt: skip


async def stream(visit: Visit) -> Response:
    """What settles from now on, as events ``export``, ``missed`` and ``problem``."""
    require(visit.caller, engine.NEEDED["follow"])
    control_engine.in_engines_sandbox(visit.control, visit.caller)
    names = await asyncio.to_thread(_names, visit)
    audiences = await asyncio.to_thread(overview.audience_names, visit.control, visit.caller)
    profile = await asyncio.to_thread(_profile_id, visit)
    chosen = {"flow": visit.query("flow"), "profile": profile, "audience": visit.query("audience")}
    wanted = {name: value for name, value in chosen.items() if value}
    # Messages that nobody is shown are not sent here at all: they would cost the engine more than all else.
    settled = visit.runtime.follow(**wanted, most_a_second=MOST_A_SECOND)
    lines = while_allowed(
        _lines(settled, visit.t, names, audiences),
        lambda: _allowed(visit),
        visit.t("live.signed_out"),
    )
    return StreamingResponse(lines, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def _names(visit: Visit) -> dict[str, str]:
    return {row.id: row.name for row in overview.rows(visit.control, visit.caller)}


def _profile_id(visit: Visit) -> str:
    """The id of the profile that is asked for: an id as it is, or that of ``namespace:id``."""
    text = visit.query("profile")
    namespace, colon, identity = text.partition(":")
    if not colon:
        return text
    return profiles.read_profile(visit.control, visit.runtime, visit.caller, namespace, identity).profile_id


def _allowed(visit: Visit) -> bool:
    """Whether whoever follows is still signed in and may still see it; blocks."""
    now = visit_of(visit.console, visit.request)
    return now.may(*engine.NEEDED["follow"])


async def while_allowed(
    lines: AsyncGenerator[bytes], allowed: Callable[[], bool], told: str, every_s: float = PING_S
) -> AsyncIterator[bytes]:
    """The lines, until the permission is gone, which is asked for again every few seconds.

    Args:
        lines: Something comes of them at least every ``PING_S``.
        allowed: Blocks.
        told: Told at the end.
        every_s: How often to ask.
    """
    clock = asyncio.get_running_loop().time
    asked_s = clock()
    async with contextlib.aclosing(lines):
        async for line in lines:
            if clock() - asked_s >= every_s:
                asked_s = clock()
                if not await asyncio.to_thread(allowed):
                    yield _event("problem", {"words": told})
                    return
            yield line


async def _lines(
    settled: AsyncIterator[dict[str, Any]], t: Texts, names: Mapping[str, str], audiences: Mapping[str, str]
) -> AsyncGenerator[bytes]:
    """Events for the browser; the engine has chosen them, and counted what is more than one can read."""
    speaker = Speaker(t, audiences)
    coming = aiter(settled)
    waiting: asyncio.Future[dict[str, Any]] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(coming))
            done, _ = await asyncio.wait((waiting,), timeout=PING_S)
            if not done:
                yield b": still here\n\n"
                continue
            one, waiting = waiting.result(), None
            if one.get("missed"):
                yield _event("missed", {"count": one["missed"]})
            elif one.get("following"):
                yield _event("following", {})
            else:
                yield _event("export", shown(one, t, names, speaker))
    except (StateError, RefusedError) as error:
        yield _event("problem", {"words": t.said(error.problem if isinstance(error, UseCaseError) else str(error))})
    except StopAsyncIteration:
        yield _event("problem", {"words": t("live.ended")})
    finally:
        if waiting is not None:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, StateError, RefusedError):
                await waiting
        close = getattr(settled, "aclose", None)
        if close is not None:
            await close()


def _event(name: str, content: Mapping[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(content) + b"\n\n"


def shown(one: Mapping[str, Any], t: Texts, names: Mapping[str, str], speaker: Speaker) -> dict[str, Any]:
    """A settled export as the page shows it, with values hidden."""
    text = str(one.get("message", ""))
    try:
        message = masked_message(msgspec.json.decode(text))
    except msgspec.DecodeError:
        message = None
    delivered = one.get("outcome") == "delivered"
    return {
        "flow": names.get(str(one.get("flow")), str(one.get("flow"))),
        "flow_id": one.get("flow"),
        "profile": one.get("profile"),
        "export": one.get("export"),
        "seq": one.get("seq"),
        "good": delivered,
        "outcome": t("state.delivered") if delivered else t("state.dead-letter"),
        "code": one.get("code"),
        "detail": t.said(str(one.get("detail") or "")),
        "cause": speaker(one.get("cause")),
        "why": speaker.whole(one.get("cause")),
        "cause_ids": speaker.ids(one.get("cause")),
        "settled_ms": one.get("settled_ms"),
        "latency_ms": one.get("latency_ms"),
        "shard": one.get("shard"),
        "sequence": one.get("sequence"),
        "attempts": one.get("attempts"),
        "size_bytes": len(text.encode()),
        "message": msgspec.json.format(msgspec.json.encode(message), indent=2).decode() if message else "",
    }
