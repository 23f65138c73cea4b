"""Lines cut from blocks, whatever the blocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.sources.lines import HEAD_BYTES, Splitter

LINE = st.one_of(
    st.sampled_from([b"", b" ", b"\t \r", b"\r", b"{}", b"{}\r", b' {"a":1}', b"\xff\xfe", b"\x00"]),
    st.binary(max_size=20).filter(lambda line: b"\n" not in line),
)
TEXT = st.builds(
    lambda mark, lines, end: mark + b"\n".join(lines) + end,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(LINE, max_size=12),
    st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]),
)
LIMIT = 12


def expected(text: bytes) -> list[tuple[bytes, int, int, bool]]:
    """(line without its end, number, end offset, over the limit) for each that is not blank."""
    found = []
    offset = 0
    for number, line in enumerate(text.split(b"\n"), 1):
        last = offset + len(line) >= len(text)
        end = offset + len(line) + (0 if last and not text.endswith(b"\n") else 1)
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if content.strip(b" \t\r\n\x0b\x0c"):
            bare = content.rstrip(b"\r\n")
            found.append((bare, number, min(end, len(text)), len(bare) > LIMIT))
        offset += len(line) + 1
    return found


@given(TEXT, st.integers(1, 40))
def test_any_blocks_give_the_same_lines(text: bytes, block_bytes: int) -> None:
    """However a text is cut into blocks, its lines, their numbers, ends and refusals are those of the text."""
    splitter = Splitter(LIMIT)
    found = []
    for at in range(0, len(text), block_bytes):
        lines = splitter.feed(text[at : at + block_bytes])
        found += [
            (body, lines.number(index), lines.end(index), index in lines.refused)
            for index, body in enumerate(lines.bodies)
        ]
    lines = splitter.end()
    found += [
        (body, lines.number(index), lines.end(index), index in lines.refused)
        for index, body in enumerate(lines.bodies)
    ]
    wanted = expected(text)
    assert [one[1:] for one in found] == [one[1:] for one in wanted]
    for (body, *_, refused), (line, *_) in zip(found, wanted, strict=True):
        assert body.rstrip(b"\r\n") == line if not refused else line.startswith(body)


def test_a_long_line_is_not_held() -> None:
    """Of a line over the limit no more than its head is held, and its neighbours are whole."""
    splitter = Splitter(HEAD_BYTES * 2)
    bodies: list[bytes] = []
    refused: dict[int, str] = {}
    for block in (b"before\n", *[b"x" * HEAD_BYTES] * 30, b"\nafter\n"):
        lines = splitter.feed(block)
        refused |= {len(bodies) + index: one.problem for index, one in lines.refused.items()}
        bodies += lines.bodies
        held = sum(map(len, splitter._held))
        assert held <= 3 * HEAD_BYTES
    assert bodies == [b"before\n", b"x" * HEAD_BYTES, b"after\n"]
    assert refused == {1: "the line has 1,966,080 bytes, the limit is 131,072"}


def test_the_limit_itself_is_allowed() -> None:
    """A line of exactly the limit passes, with either line end; one more byte is refused."""
    for end in (b"\n", b"\r\n"):
        lines = Splitter(10).feed(b"y" * 10 + end + b"z" * 11 + end)
        assert [body.rstrip() for body in lines.bodies] == [b"y" * 10, b"z" * 10]
        assert list(lines.refused) == [1]
