"""The live view's stream: what settles, filtered and masked, at the pace of a reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from headrace.console.pages.live import MOST_A_SECOND, _lines, while_allowed
from headrace.console.texts import Texts
from headrace.errors import StateError

from .sample import Sample, settled
from .served import Visitor


async def _given(found: list[dict[str, Any]], error: Exception | None = None) -> AsyncIterator[dict[str, Any]]:
    yield {"following": True}
    for each in found:
        yield each
    if error is not None:
        raise error


def events(found: list[dict[str, Any]], *, error: Exception | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Name and content of the events that come of what settles."""

    async def read() -> bytes:
        lines = _lines(_given(found, error), Texts("en"), {"f": "Leads"}, {"crm-high-propensity": "High propensity"})
        return b"".join([line async for line in lines])

    blocks = asyncio.run(read()).split(b"\n\n")
    parsed = []
    for block in blocks:
        if block.startswith(b"event: "):
            name, _, data = block.partition(b"\n")
            parsed.append((name[7:].decode(), msgspec.json.decode(data[6:])))
    return parsed


def test_messages_are_told_masked() -> None:
    """An export comes with its flow's name and audiences' names, its cause in words, and no value of the profile."""
    told = events([settled("f", 0)])
    assert told[0] == ("following", {})
    name, one = told[1]
    assert (name, one["flow"], one["cause"]) == ("export", "Leads", "entered High propensity")
    assert one["cause_ids"] == "entered crm/crm-high-propensity"
    assert one["why"] == one["cause"]
    assert "person0@example.com" not in str(one)
    assert "crm-loyal" in one["message"]


def test_an_opened_message_tells_its_whole_cause() -> None:
    """The line names three of a kind and counts the others; what it opens to names them all."""
    one = {**settled("f", 0), "cause": ["live", ["attribute"], ["a", "b", "c", "d", "e"], [], [], []]}
    (_, (_, told)) = events([one])[:2]
    assert (told["cause"], told["why"]) == ("changed a, b, c +2", "changed a, b, c, d, e")


def test_the_engine_chooses_what_is_shown(installation: Sample, visit: Callable[..., Visitor]) -> None:
    """What is filtered out, or more than one can read, is left out where it settles; it is not sent to be dropped."""
    visitor, engine = visit(installation), installation.engine
    engine.down = True  # the stream ends at once
    visitor.get("/ui/live/stream?flow=f&audience=crm-loyal&profile=p")
    asked = [arguments for request, arguments in engine.asked if request == "follow"]
    assert asked == [{"flow": "f", "audience": "crm-loyal", "profile": "p", "most_a_second": MOST_A_SECOND}]


def test_what_the_engine_left_out_is_said() -> None:
    """Its own count of what a slow reader missed goes through."""
    assert ("missed", {"count": 7}) in events([{"missed": 7}])


def test_an_engine_that_goes_away_is_said() -> None:
    """The stream ends with the reason instead of hanging."""
    told = events([], error=StateError("nobody listens"))
    assert told[-1] == ("problem", {"words": "nobody listens"})


def test_a_permission_that_is_gone_ends_the_stream() -> None:
    """Whoever is signed out or loses the permission sees nothing more, though the connection was open before."""
    answers = iter([True, False])

    async def read() -> list[bytes]:
        lines = _lines(_given([settled("f", number) for number in range(5)]), Texts("en"), {}, {})
        watched = while_allowed(lines, lambda: next(answers), "gone", every_s=0.0)
        return [line async for line in watched]

    told = asyncio.run(read())
    assert len(told) == 2
    assert b"gone" in told[-1]
