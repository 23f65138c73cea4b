"""JSON Lines read from files: order, resuming, and every way a file can be bad."""

from __future__ import annotations

import asyncio
import gzip
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import SourceChangedError, SourceUnreadableError
from headrace.sources.base import Source
from headrace.sources.jsonl import JsonLines
from headrace.sources.trail import FIRST_BYTES, LAST_BYTES
from tests.sources.contract import Scene, SourceContract, flat, taken, updates
from tests.sources.reading import everything, places, run, whole


class FileScene:
    """A file that grows."""

    resumes = True

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    async def source(self) -> Source:
        return JsonLines(str(self.path), follow=True, poll_s=0.001)

    async def offer(self, source: Source, bodies: Sequence[bytes]) -> None:
        with self.path.open("ab") as file:
            file.write(b"".join(body + b"\n" for body in bodies))

    async def end(self, source: Source) -> None:
        await source.close()

    def answered(self) -> int | None:
        return None

    async def settle(self) -> None:
        pass


class TestFile(SourceContract):
    """The contract, on a file that is followed."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def scene(self) -> Scene:
        return FileScene(self.folder / "updates.jsonl")


LINES = st.lists(st.sampled_from([b"", b"  ", b"\r", b'{"a":1}', b'{"b":22}\r', b"not json", b"\xff", b"L" * 40]))


@settings(max_examples=60, deadline=None)
@given(
    lines=LINES,
    end=st.sampled_from([b"", b"\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    packed=st.booleans(),
    block_bytes=st.integers(1, 50),
    most=st.integers(1, 5),
)
def test_resumes_after_every_batch(
    lines: list[bytes], end: bytes, mark: bytes, packed: bool, block_bytes: int, most: int
) -> None:
    """Whatever the blocks and batches, each batch's position goes on with the next update and line number."""
    text = mark + b"\n".join(lines) + end
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "updates"
        path.write_bytes(gzip.compress(text) if packed else text)

        def source() -> JsonLines:
            return JsonLines(str(path), block_bytes=block_bytes, max_line_bytes=30)

        async def test() -> None:
            batches = await whole(source(), most=most)
            numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
            assert places(batches) == [f"updates line {number}" for number in numbers]
            assert flat(batches) == [line.strip()[:30] for line in lines if line.strip()]
            refused = [batch.place(one.index) for batch in batches for one in batch.refused]
            assert refused == [f"updates line {number}" for number, line in enumerate(lines, 1) if len(line) == 40]
            for count, batch in enumerate(batches, 1):
                rest = await whole(source(), batch.position, most=3)
                assert flat(rest) == flat(batches[count:])
                assert places(rest) == places(batches[count:])

        asyncio.run(test())


def test_a_line_of_two_mebibytes_is_refused_alone(tmp_path: Path) -> None:
    """A 2 MiB line is one refused update of which the beginning is kept; its neighbours come whole."""
    path = tmp_path / "updates.jsonl"
    big = b'{"pad":"' + b"x" * 2_097_152 + b'"}'
    path.write_bytes(b"\n".join([*updates(2), big, *updates(2)]))
    batches = run(whole(JsonLines(str(path))))
    bodies = flat(batches)
    assert bodies[:2] == bodies[3:] == updates(2)
    assert bodies[2] == big[:65_536]
    refused = [(batch.place(one.index), one.reason, one.problem) for batch in batches for one in batch.refused]
    assert refused == [("updates.jsonl line 3", "too-large", "the line has 2,097,162 bytes, the limit is 1,048,576")]
    assert all(batch.keep_refused for batch in batches)


def test_bytes_pass_as_they_are(tmp_path: Path) -> None:
    """What is not UTF-8, not JSON or not an object is not this source's matter."""
    bodies = [b'{"a":"\xff\xfe"}', b"[1,2", b"7", b"\x00", b'{"a":"\\ud800"}']
    (tmp_path / "bad").write_bytes(b"\n".join(bodies))
    assert everything(tmp_path / "bad") == bodies


def test_a_position_is_of_the_uncompressed_content(tmp_path: Path) -> None:
    """A file that was compressed meanwhile goes on where it was."""
    path = tmp_path / "updates.jsonl"
    text = b"".join(body + b"\n" for body in updates(50))
    path.write_bytes(text)
    first = run(whole(JsonLines(str(path)), most=20))[0]
    path.write_bytes(gzip.compress(text))
    assert everything(path, first.position) == updates(50)[20:]


def test_a_file_that_grew_goes_on(tmp_path: Path) -> None:
    """What was added after the end of a finished run is what the next run reads."""
    path = tmp_path / "updates.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":2}')
    batches = run(whole(JsonLines(str(path))))
    with path.open("ab") as file:
        file.write(b'\n{"a":3}\n')
    rest = run(whole(JsonLines(str(path)), batches[-1].position))
    assert flat(rest) == [b'{"a":3}']
    assert places(rest) == ["updates.jsonl line 3"]


@pytest.fixture(scope="module")
def large() -> bytes:
    """A text of three times the part that is hashed at its beginning."""
    return b"".join(b'{"number":%09d,"pad":"%s"}\n' % (number, b"x" * 200) for number in range(13_500))


def _cut(text: bytes, offset: int) -> bytes:
    return text[: offset - 1]


def _first(text: bytes, offset: int) -> bytes:
    return b'{"Number"' + text[9:]


def _last(text: bytes, offset: int) -> bytes:
    return text[: offset - LAST_BYTES] + b"X" + text[offset - LAST_BYTES + 1 :]


def _inserted(text: bytes, offset: int) -> bytes:
    middle = text.index(b"\n", FIRST_BYTES + 100_000) + 1
    return text[:middle] + b"{}\n" + text[middle:]


def _removed(text: bytes, offset: int) -> bytes:
    middle = text.index(b"\n", FIRST_BYTES + 100_000) + 1
    return text[:middle] + text[text.index(b"\n", middle) + 1 :]


def _empty(text: bytes, offset: int) -> bytes:
    return b""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("change", [_cut, _first, _last, _inserted, _removed, _empty])
def test_a_changed_prefix_is_refused_with_the_choices(
    tmp_path: Path, large: bytes, change: Any, packed: bool
) -> None:
    """A file cut, changed at either end of what was read, or shifted, is refused, and the choices are named."""
    path = tmp_path / "updates.jsonl"

    def write(text: bytes) -> None:
        path.write_bytes(gzip.compress(text, 1) if packed else text)

    write(large)

    async def part() -> tuple[bytes | None, list[bytes]]:
        source = JsonLines(str(path))
        await source.open(None)
        bodies: list[bytes] = []
        position = None
        while len(bodies) < 12_000:
            batch = await taken(source, 1000)
            bodies += flat([batch])
            position = batch.position
        await source.close()
        return position, bodies

    position, bodies = run(part())
    offset = sum(len(body) + 1 for body in bodies)
    assert len(everything(path, position)) == 13_500 - len(bodies)
    write(change(large, offset))
    with pytest.raises(SourceChangedError, match="--from-start reads it as a new file, --from-end skips") as caught:
        everything(path, position)
    assert caught.value.offset == offset  # type: ignore[attr-defined]
    assert everything(path, position, start="start") == [line for line in change(large, offset).split(b"\n") if line]
    assert everything(path, position, start="end") == []


@pytest.mark.parametrize("packed", [False, True])
def test_from_the_end_reads_what_comes_later(tmp_path: Path, packed: bool) -> None:
    """Started at the end, what the file held is skipped, and its position resumes there."""
    path = tmp_path / "updates.jsonl"
    text = b'{"a":1}\n\n{"a":2}'
    path.write_bytes(gzip.compress(text) if packed else text)

    async def skip() -> bytes | None:
        source = JsonLines(str(path), start="end")
        await source.open(b"not looked at")
        assert await source.read(10) is None
        position = source.position()
        await source.close()
        return position

    position = run(skip())
    more = b'\n{"a":3}\n'
    with path.open("ab") as file:
        file.write(gzip.compress(more) if packed else more)
    rest = run(whole(JsonLines(str(path)), position))
    assert flat(rest) == [b'{"a":3}']
    assert places(rest) == ["updates.jsonl line 4"]


@pytest.mark.parametrize("keep", [1, 12, 400, -9, -1])
def test_gzip_cut_off_is_a_clear_error_after_its_whole_lines(tmp_path: Path, keep: int) -> None:
    """Of a gzip file cut off anywhere, the whole lines come first, and then an error that says so; no half line."""
    path = tmp_path / "updates.jsonl.gz"
    bodies = updates(2000)
    path.write_bytes(gzip.compress(b"".join(body + b"\n" for body in bodies))[:keep])

    async def test() -> list[bytes]:
        source = JsonLines(str(path), block_bytes=1000)
        await source.open(None)
        found: list[bytes] = []

        async def read() -> None:
            while (batch := await source.read(100)) is not None:
                found.extend(flat([batch]))

        with pytest.raises(SourceUnreadableError, match="gzip data is cut off; the whole lines before were read"):
            await read()
        await source.close()
        return found

    if keep == 1:
        assert everything(path) == [b"\x1f"]
        return
    found = run(test())
    assert found == bodies[: len(found)]
    assert len(found) >= (1990 if keep < 0 else 0)


def test_gzip_damaged_is_a_clear_error(tmp_path: Path) -> None:
    """Bytes changed within a gzip file end it with an error that names the file."""
    path = tmp_path / "updates.jsonl.gz"
    packed = bytearray(gzip.compress(b"".join(body + b"\n" for body in updates(500))))
    packed[-6] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(SourceUnreadableError, match=r"updates\.jsonl\.gz: the gzip data is damaged"):
        everything(path, block_bytes=100)


def test_gzip_members_and_padding(tmp_path: Path) -> None:
    """Several members are one text, zero bytes after the last are nothing."""
    path = tmp_path / "updates.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a"') + gzip.compress(b':1}\n{"a":2}\n') + b"\0" * 100)
    for block_bytes in (1, 3, 1000):
        assert everything(path, block_bytes=block_bytes) == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize("name", ["missing", "."])
def test_nothing_to_read_from(tmp_path: Path, name: str) -> None:
    """A path that is missing or a folder is refused when it is opened."""
    with pytest.raises(SourceUnreadableError, match="cannot be read"):
        everything(tmp_path / name)


def test_a_foreign_position_is_refused(tmp_path: Path) -> None:
    """A position that cannot be understood is refused with the choices."""
    path = tmp_path / "updates.jsonl"
    path.write_bytes(b"{}\n")
    for position in (b"", b"{}", b'{"format":2,"offset":0,"lines":0,"first":"","last":""}'):
        with pytest.raises(SourceUnreadableError, match="--from-start or --from-end"):
            everything(path, position)


def test_ids_and_progress(tmp_path: Path) -> None:
    """A file's id is its absolute path; progress is in bytes as they lie in the file, and ends complete."""
    path = tmp_path / "updates.jsonl"
    path.write_bytes(gzip.compress(b"{}\n" * 1000))
    source = JsonLines(os.path.relpath(path))
    assert source.id == f"jsonl:{path}"
    assert JsonLines("-").id == "stdin"
    assert source.progress() == (0, None)

    async def test() -> None:
        await source.open(None)
        assert source.progress() == (0, path.stat().st_size)
        while await source.read(100) is not None:
            pass
        assert source.progress() == (path.stat().st_size, path.stat().st_size)
        await source.close()

    run(test())


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A file much larger than a block is read with a few blocks of memory, a line without end too."""
    import tracemalloc

    path = tmp_path / "updates.jsonl"
    path.write_bytes(b"x" * 20_000_000 + b"\n" + b'{"a":"yyyyyyyyyyyyyyyyyyyyy"}\n' * 500_000)

    async def test() -> int:
        source = JsonLines(str(path), block_bytes=65_536)
        await source.open(None)
        count = 0
        while (batch := await source.read(1000)) is not None:
            count += len(batch.bodies)
        await source.close()
        return count

    tracemalloc.start()
    try:
        assert run(test()) == 500_001
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
