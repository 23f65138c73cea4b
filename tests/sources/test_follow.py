"""Files that grow, are rotated or cut, and pipes."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from headrace import clock as clocks
from headrace.sources.base import Batch
from headrace.sources.jsonl import JsonLines
from tests.sources.contract import flat, taken, updates
from tests.sources.reading import run, whole


class Following:
    """A file being followed, with reads that must or must not find something."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.source = JsonLines(str(path), follow=True, clock=clocks.Manual(auto=True), **settings)

    async def gives(self, *bodies: bytes) -> Batch:
        """The next updates are these."""
        batches = [await taken(self.source, 100)]
        while len(flat(batches)) < len(bodies):
            batches.append(await taken(self.source, 100))
        assert flat(batches) == list(bodies)
        return batches[-1]

    async def waits(self) -> None:
        """There is nothing, after several looks."""
        reading = asyncio.ensure_future(self.source.read(100))
        done, _ = await asyncio.wait([reading], timeout=0.05)
        assert not done
        reading.cancel()
        await asyncio.wait([reading])

    def append(self, text: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(text)


def follow(path: Path, text: bytes, **settings: Any) -> Following:
    path.write_bytes(text)
    return Following(path, **settings)


def test_an_unfinished_line_waits_for_its_end(tmp_path: Path) -> None:
    """A line without end is not given while the file is followed, nor when the source is closed."""

    async def test() -> None:
        one = follow(tmp_path / "log", b'{"a":1}\n{"a"')
        await one.source.open(None)
        batch = await one.gives(b'{"a":1}')
        await one.waits()
        one.append(b":2}\n{")
        await one.gives(b'{"a":2}')
        await one.source.close()
        again = Following(one.path)
        await again.source.open(batch.position)
        await again.gives(b'{"a":2}')
        await again.source.close()

    run(test())


@pytest.mark.parametrize("start", ["resume", "end"])
def test_rotation(tmp_path: Path, start: Literal["resume", "end"]) -> None:
    """A file renamed away is read to its end, late additions too, and then its successor from the start."""

    async def test() -> None:
        one = follow(tmp_path / "log", b'{"old":1}\n{"ol', start=start)
        await one.source.open(None)
        if start == "resume":
            await one.gives(b'{"old":1}')
        else:
            await one.waits()
        with one.path.open("ab") as writer:
            os.rename(one.path, tmp_path / "log.1")
            await one.waits()
            writer.write(b'd":2}\n{"old":3}')
        one.path.write_bytes(b'{"new":1}\n')
        await one.gives(b'{"old":2}', b'{"old":3}', b'{"new":1}')
        batch = await _next(one, b'{"new":2}')
        assert batch.place(0) == "log line 2"
        await one.source.close()
        assert await whole(JsonLines(str(one.path)), batch.position) == []

    run(test())


async def _next(one: Following, body: bytes) -> Batch:
    one.append(body + b"\n")
    return await one.gives(body)


@pytest.mark.parametrize("after", [b'{"b":1}\n', b'{"b":1,"longer":"than what was there"}\n' * 3])
@pytest.mark.parametrize("held", [b"", b'{"cut":'])
def test_truncation(tmp_path: Path, after: bytes, held: bytes) -> None:
    """A file cut to nothing and written anew, shorter or longer than before, is read from its start again."""

    async def test() -> None:
        one = follow(tmp_path / "log", b'{"a":1}\n{"a":2}\n' + held)
        await one.source.open(None)
        await one.gives(b'{"a":1}', b'{"a":2}')
        await one.waits()
        one.path.write_bytes(after)
        lines = after.split(b"\n")[:-1]
        batch = await one.gives(*([held] if held else []), *lines)
        assert batch.place(len(batch.bodies) - 1) == f"log line {len(lines)}"
        await one.source.close()

    run(test())


def test_gzip_cut_off_waits_when_followed(tmp_path: Path) -> None:
    """A gzip file still being written gives its lines as they come."""
    packed = gzip.compress(b"".join(body + b"\n" for body in updates(3000)))

    async def test() -> None:
        one = follow(tmp_path / "log.gz", packed[:1])
        await one.source.open(None)
        await one.waits()
        one.append(packed[1:-20])
        found: list[bytes] = []
        while len(found) < 2000:
            found += flat([await taken(one.source, 1000)])
        one.append(packed[-20:] + gzip.compress(b'{"more":1}\n'))
        while len(found) < 3001:
            found += flat([await taken(one.source, 1000)])
        assert found == [*updates(3000), b'{"more":1}']
        await one.source.close()

    run(test())


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_as_it_comes_and_does_not_resume(tmp_path: Path, packed: bool) -> None:
    """A named pipe gives lines as they are written, ends with its writer, and has no position."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def test() -> None:
        source = JsonLines(str(path))
        await source.open(None)
        reading = asyncio.ensure_future(source.read(10))
        await asyncio.sleep(0)
        with path.open("wb", buffering=0) as writer:
            text = [b'{"a":1}\n', b'{"a":2}\n{"a":3}']
            for part in text:
                writer.write(gzip.compress(part) if packed else part)
                batch = await reading
                assert batch is not None
                assert batch.position is None
                assert flat([batch]) == [part.split(b"\n")[0]]
                reading = asyncio.ensure_future(source.read(10))
        last = await reading
        assert last is not None
        assert flat([last]) == [b'{"a":3}']
        assert last.place(0) == "pipe line 3"
        assert await source.read(10) is None
        assert source.position() is None
        await source.close()

    run(test())


def test_a_pipe_is_let_go(tmp_path: Path) -> None:
    """Closing ends a read of a pipe that nobody writes to."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def test() -> None:
        source = JsonLines(str(path))
        await source.open(None)
        reading = asyncio.ensure_future(source.read(10))
        for _ in range(5):
            await asyncio.sleep(0)
        await source.close()
        assert await reading is None

    run(test())


@pytest.mark.parametrize("regular", [False, True])
def test_standard_input(tmp_path: Path, regular: bool) -> None:
    """``-`` reads standard input to its end, be it a pipe or a file, and has no position."""
    program = """
import asyncio
from headrace.sources.jsonl import JsonLines

async def main():
    source = JsonLines("-", follow=True)
    await source.open(None)
    while (batch := await source.read(2)) is not None:
        print([bytes(body).strip() for body in batch.bodies], batch.place(0), batch.position)
    await source.close()

asyncio.run(main())
"""
    text = b'{"a":1}\n\n{"a":2}\n{"a":3}'
    path = tmp_path / "updates.jsonl"
    path.write_bytes(text)
    command = [sys.executable, "-c", program]
    with path.open("rb") as file:
        given: dict[str, Any] = {"stdin": file} if regular else {"input": text}
        got = subprocess.run(command, **given, capture_output=True, check=True, timeout=30)
    lines = ["[b'{\"a\":1}', b'{\"a\":2}'] stdin line 1 None", "[b'{\"a\":3}'] stdin line 4 None"]
    assert got.stdout.decode().splitlines() == lines
