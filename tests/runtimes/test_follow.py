"""Who follows sees what settles, and never holds it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.errors import RefusedError, StateError
from headrace.runtimes import socket
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.follow import MOST_FOLLOWERS, Followers
from headrace.runtimes.socket import Listener
from tests.runtimes.road import BOUND_S, VIP, Lines, MemoryDisk, Road, flow, members, snapshot


def road(count: int = 100) -> Road:
    """Updates of ten members, to two flows."""
    return Road(MemoryDisk(), Lines(members(count, 10)), snapshot(flow("a"), flow("b")))


async def begun(stream: AsyncGenerator[Sequence[Any]]) -> None:
    """A stream that has told that it follows."""
    assert await anext(stream) == [{"following": True}]


async def rest(stream: AsyncGenerator[Sequence[Any]], count: int) -> list[dict[str, Any]]:
    """What comes, as it is read at the other end, until so many exports are told of, seen or missed."""
    found: list[dict[str, Any]] = []
    while sum(each.get("missed", 1) for each in found) < count:
        together = await asyncio.wait_for(anext(stream), BOUND_S)
        found += [msgspec.json.decode(msgspec.json.encode(each)) for each in together]
    return found


def test_a_follower_sees_every_export_of_its_flow() -> None:
    """Each settled export of the flow comes once, in the order of its profile, with message and place."""
    way = road()

    async def use(engine: Engine) -> list[dict[str, Any]]:
        stream = Followers(engine).follow({"flow": "a"})
        await begun(stream)
        await engine.run(until_drained=True)
        found = await rest(stream, 100)
        await stream.aclose()
        assert engine.on_settled == []
        return found

    found = way.life(use)
    written = [bytes(each.data) for each in way.stream("a").accepted]
    assert sorted(each["message"].encode() for each in found) == sorted(written)
    assert {each["flow"] for each in found} == {"a"}
    for profile in {each["profile"] for each in found}:
        assert [each["seq"] for each in found if each["profile"] == profile] == list(range(1, 11))
    first = found[0]
    assert first["outcome"] == "delivered"
    assert first["sequence"]
    assert first["cause"]["kind"] == "live"
    assert first["latency_ms"] == first["settled_ms"] - first["made_ms"] >= 0


def test_a_slow_follower_misses_some_and_is_told() -> None:
    """What does not fit into its queue is counted, and the engine goes on; it sees what comes afterwards."""
    way = road()

    async def use(engine: Engine) -> list[dict[str, Any]]:
        stream = Followers(engine, queue_bytes=10_000).follow({})
        await begun(stream)
        await engine.run(until_drained=True)
        return await rest(stream, 200)

    found = way.life(use)
    assert found[0]["missed"] > 100
    assert found[0]["missed"] + len(found) - 1 == 200


def test_who_reads_few_is_sent_few_and_told_how_many_more() -> None:
    """At most so many within a second of the engine's time; the rest is counted, whenever it is told."""
    way = road()

    async def use(engine: Engine) -> list[dict[str, Any]]:
        stream = Followers(engine).follow({"flow": "a", "most_a_second": 7})
        await begun(stream)
        await engine.run(until_drained=True)
        found = await rest(stream, 100)
        await stream.aclose()
        return found

    found = way.life(use)
    shown = [each for each in found if "missed" not in each]
    seconds = {each["settled_ms"] // 1000 for each in shown}
    assert 7 <= len(shown) <= 7 * (len(seconds) + 1)
    assert len(shown) + sum(each.get("missed", 0) for each in found) == 100


def test_a_follower_of_an_audience_sees_messages_that_name_it() -> None:
    """Others are neither sent nor counted as missed."""
    way = road()

    async def use(engine: Engine) -> list[dict[str, Any]]:
        followers = Followers(engine)
        streams = [followers.follow({"flow": "a", "audience": each}) for each in (VIP[1], "nobody")]
        for each in streams:
            await begun(each)
        await engine.run(until_drained=True)
        found = await rest(streams[0], 100)
        silent = asyncio.ensure_future(anext(streams[1]))
        await asyncio.sleep(0)
        assert not silent.done()
        silent.cancel()
        await asyncio.gather(silent, return_exceptions=True)
        return found

    assert len(way.life(use)) == 100


def test_followers_are_few() -> None:
    """One too many is refused; one that leaves makes room."""
    way = road(1)

    async def use(engine: Engine) -> None:
        followers = Followers(engine)
        streams = [followers.follow({}) for _ in range(MOST_FOLLOWERS)]
        for stream in streams:
            await begun(stream)
        with pytest.raises(RefusedError, match="follow already"):
            await anext(followers.follow({}))
        await streams[0].aclose()
        await begun(followers.follow({}))

    way.life(use)


def test_streams_over_the_socket(tmp_path: Path) -> None:
    """Each thing is a line; whoever closes ends the stream at its source; an error is raised at the other end."""
    ended = asyncio.Event()

    async def numbers(wanted: Any) -> AsyncGenerator[Sequence[int]]:
        if wanted.get("wrong"):
            raise RefusedError("wrong is wrong")
        try:
            for number in range(0, 1_000_000, 2):
                await asyncio.sleep(0)
                yield [number, number + 1]
        finally:
            ended.set()

    async def use() -> None:
        listener = Listener(tmp_path, {"one": lambda _: 1}, streams={"numbers": numbers})
        await listener.open()
        stream = socket.follow(tmp_path, "numbers")
        assert [await anext(stream) for _ in range(1000)] == list(range(1000))
        await stream.aclose()
        await asyncio.wait_for(ended.wait(), BOUND_S)
        with pytest.raises(RefusedError, match="wrong is wrong"):
            await anext(socket.follow(tmp_path, "numbers", wrong=True))
        with pytest.raises(RefusedError, match="known: one, numbers"):
            await anext(socket.follow(tmp_path, "unknown"))
        open_stream = socket.follow(tmp_path, "numbers")
        await anext(open_stream)
        await listener.close()
        with pytest.raises(StateError, match="went away"):
            async for _ in open_stream:
                pass
        with pytest.raises(StateError, match="no process holds"):
            await anext(socket.follow(tmp_path, "numbers"))

    asyncio.run(use())


def test_answers_that_take_turns(tmp_path: Path) -> None:
    """An answer may be a coroutine, null, or an error; nobody there is told apart from null."""

    async def later(wanted: Any) -> Any:
        await asyncio.sleep(0)
        if wanted.get("wrong"):
            raise StateError("not now")
        return None

    async def use() -> None:
        listener = Listener(tmp_path, {"later": later})
        assert socket.ask(tmp_path, "later") is None
        await listener.open()
        assert await asyncio.to_thread(socket.ask, tmp_path, "later") == (None,)
        with pytest.raises(RefusedError, match="not now"):
            await asyncio.to_thread(lambda: socket.ask(tmp_path, "later", wrong=True))
        await listener.close()

    asyncio.run(use())


def test_what_several_are_shown_is_made_once() -> None:
    """Those who see everything are sent the same few messages of each second, encoded for all of them together."""
    way = road()

    async def use(engine: Engine) -> list[list[Any]]:
        followers = Followers(engine)
        streams = [followers.follow({"most_a_second": 5}) for _ in range(3)]
        for each in streams:
            await begun(each)
        await engine.run(until_drained=True)
        return [list(await anext(each)) for each in streams]

    first, *others = [[each for each in came if isinstance(each, msgspec.Raw)] for came in way.life(use)]
    assert first
    for other in others:
        assert all(one is same for one, same in zip(first, other, strict=True))
