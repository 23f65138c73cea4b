"""Every error answer of the collection listener: one body, in the spelling of each kind of client.

AEP's services answer with three shapes of error; this one body has the fields of all, and those of RFC 9457.
"""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.core.reasons import REFUSALS

PROBLEMS: Final[dict[str, tuple[int, str]]] = {
    "bad-request": (400, "The request is not valid HTTP."),
    "bad-batch": (400, 'The body is not {"messages": [...]} with at least one message.'),
    "unauthorized": (401, "This inlet needs a bearer token."),
    "forbidden": (403, "The token is not one for this inlet."),
    "unknown-path": (404, "There is nothing at this path."),
    "unknown-inlet": (404, "There is no such inlet."),
    "method-not-allowed": (405, "The path does not take this method."),
    "timeout": (408, "The body did not arrive in time."),
    "body-too-large": (413, "The body is larger than the limit."),
    "media-type": (415, "The body must be JSON, plain or compressed with gzip."),
    "busy": (429, "The queue is full; send again later."),
    "head-too-large": (431, "The request's headers are larger than the limit."),
    "internal": (500, "An internal error; nothing of the request is known to be stored."),
    "closing": (503, "The listener is closing; nothing of the request is stored; send again later."),
    "unknown-fate": (503, "The listener closed before it was known whether the request is stored; send it again."),
}
"""Error code to HTTP status and meaning; a refused update's codes are ``core.reasons.REFUSALS``, with status 400."""

RETRY_AFTER_S: Final = 1
_RETRIED: Final = frozenset({429, 503})


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of an error."""

    type: str
    status: int
    title: str
    detail: str
    error_code: str = msgspec.field(name="errorCode")
    error_message: str = msgspec.field(name="errorMessage")
    error_details: str = msgspec.field(name="errorDetails")
    inlet_id: str = msgspec.field(name="inletId", default="")
    xaction_id: str = msgspec.field(name="xactionId", default="")
    received_ms: int = msgspec.field(name="receivedTimeMs", default=0)


class ProblemError(Exception):
    """Ends a request with an error answer.

    Attributes:
        code: A key of PROBLEMS or of the refusals.
        detail: What is wrong with this request, without its content.
        headers: Beside the usual ones.
    """

    def __init__(self, code: str, detail: str = "", *headers: tuple[bytes, bytes]) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.headers = headers


def problem(code: str, detail: str = "") -> Problem:
    """The body for a code of PROBLEMS or of the refusals."""
    status, title = PROBLEMS.get(code) or (400, REFUSALS.get(code, "The update cannot be applied."))
    detail = detail or title
    return Problem(f"/errors/{code}", status, title, detail, code, title, detail)


def headers(status: int) -> tuple[tuple[bytes, bytes], ...]:
    """What a client needs beside the body."""
    return ((b"retry-after", str(RETRY_AFTER_S).encode()),) if status in _RETRIED else ()
