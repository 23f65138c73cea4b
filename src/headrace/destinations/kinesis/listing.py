"""List an account's streams; find one, in one call where the service sorts by name, by paging elsewhere.

Source: Kinesis API, ListStreams: ExclusiveStartStreamName is exclusive, so the name itself would hide the
stream; it need not exist on AWS. Some servers fail on an unknown one, so paging starts without.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from headrace.kinesis.transport import Answer, Unanswered

Call = Callable[[str, bytes], Awaitable[Answer | Unanswered]]

PAGES: Final = 100
PAGE: Final = 100
_ORDERED: Final = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""The characters of a stream name in the order of their bytes."""


class Mode(msgspec.Struct, frozen=True):
    """StreamModeDetails."""

    mode: str = msgspec.field(name="StreamMode", default="")


class Summary(
    msgspec.Struct, frozen=True, rename={"name": "StreamName", "arn": "StreamARN", "status": "StreamStatus"}
):
    """What ListStreams says about one stream; older servers say only the name."""

    name: str
    arn: str = ""
    status: str = ""
    mode: Mode = msgspec.field(name="StreamModeDetails", default=Mode())


class _Page(msgspec.Struct, rename="pascal"):
    stream_names: list[str]
    has_more_streams: bool = False
    next_token: str | None = None
    stream_summaries: list[Summary] | None = None


class Listing(msgspec.Struct, frozen=True):
    """What listing showed.

    Attributes:
        found: The stream, or None.
        complete: True when every name was seen, so that None means that there is none.
        others: Some names that are there.
        request_id: Of the last call.
    """

    found: Summary | None
    complete: bool
    others: tuple[str, ...] = ()
    request_id: str = ""


def predecessor(name: str) -> str:
    """A name just before *name*, so that listing after it begins with *name*.

    Returns:
        Empty when nothing can come before.

    Examples:
        >>> predecessor("ab")[:4], len(predecessor("ab"))
        ('aazz', 128)
        >>> predecessor("a-"), predecessor("-")
        ('a', '')
    """
    place = _ORDERED.index(name[-1])
    if place == 0:
        return name[:-1]
    return (name[:-1] + _ORDERED[place - 1]).ljust(128, _ORDERED[-1])


async def find_stream(call: Call, name: str, *, try_predecessor: bool) -> Listing | Answer | Unanswered:
    """Find one stream.

    Args:
        call: Makes one call.
        name: Stream name.
        try_predecessor: First try one short page that begins just before the name.

    Returns:
        What was found, or the refusal of the first page.
    """
    if try_predecessor and predecessor(name):
        answer = await _page(call, {"Limit": 10, "ExclusiveStartStreamName": predecessor(name)})
        if isinstance(answer, Answer | Unanswered):
            return answer
        page, request_id = answer
        if name in page.stream_names:
            return Listing(_summary(page, name), complete=True, request_id=request_id)
    return await _paged(call, name)


async def list_streams(call: Call) -> tuple[list[str], bool] | Answer | Unanswered:
    """Every stream's name, and whether these are all; or the refusal of the first page.

    Args:
        call: Makes one call.
    """
    request: dict[str, object] = {"Limit": PAGE}
    names: list[str] = []
    for number in range(PAGES):
        answer = await _page(call, request)
        if isinstance(answer, Answer | Unanswered):
            return answer if number == 0 else (names, False)
        page, _ = answer
        names += page.stream_names
        if not page.has_more_streams or not page.stream_names:
            return names, True
        request = _following(page)
    return names, False


async def _paged(call: Call, name: str) -> Listing | Answer | Unanswered:
    request: dict[str, object] = {"Limit": PAGE}
    others: list[str] = []
    request_id = ""
    for number in range(PAGES):
        answer = await _page(call, request)
        if isinstance(answer, Answer | Unanswered):
            return (
                answer if number == 0 else Listing(None, complete=False, others=tuple(others), request_id=request_id)
            )
        page, request_id = answer
        if name in page.stream_names:
            return Listing(_summary(page, name), complete=True, request_id=request_id)
        others = (others + page.stream_names)[:5]
        if not page.has_more_streams or not page.stream_names:
            return Listing(None, complete=True, others=tuple(others), request_id=request_id)
        request = _following(page)
    return Listing(None, complete=False, others=tuple(others), request_id=request_id)


def _following(page: _Page) -> dict[str, object]:
    """The request for the page behind one; NextToken and the last name do not go together."""
    if page.next_token:
        return {"Limit": PAGE, "NextToken": page.next_token}
    return {"Limit": PAGE, "ExclusiveStartStreamName": page.stream_names[-1]}


async def _page(call: Call, request: dict[str, object]) -> tuple[_Page, str] | Answer | Unanswered:
    answer = await call("ListStreams", msgspec.json.encode(request))
    if isinstance(answer, Unanswered) or answer.status != 200:
        return answer
    try:
        return msgspec.json.decode(answer.body, type=_Page), answer.request_id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Unanswered(
            sent=True,
            code="answer-unreadable",
            detail="the endpoint does not answer as Kinesis does; check the endpoint URL",
        )


def _summary(page: _Page, name: str) -> Summary:
    """Some servers put the summaries of all pages on each page."""
    return next((s for s in page.stream_summaries or () if s.name == name), Summary(name))
