"""The one error body, in which every known client finds the member that it looks for.

Members of three published shapes stand side by side (the gateway's ``error_code``/``message``, the Flow Service's
``errorMessage``/``errorDetails``, the coded ``errorCode``/``title``), and ours: ``mistakes`` and ``requestId``.
"""

from __future__ import annotations

import math
import traceback
from typing import Any, Final

import msgspec
from starlette.responses import Response

from headrace import logs
from headrace.control.problems import Code, problem
from headrace.errors import BugError, HeadraceError, RefusedError, StateError, UseCaseError

JSON: Final = "application/json"
_GATEWAY_DIGITS: Final = 6


def as_use_case(error: HeadraceError) -> UseCaseError:
    """Any error of ours as one with a code.

    Args:
        error: What a use case, or the engine, raised.
    """
    match error:
        case UseCaseError():
            return error
        case RefusedError():
            return problem(Code.ENGINE_REFUSED, str(error))
        case BugError():
            return problem(Code.BROKEN, "something is broken here; please report it with the request's id")
        case StateError():
            return problem(
                Code.ENGINE_ABSENT,
                f"the engine does not answer ({error}); start it with `headrace serve`, or look at its log, "
                "and try again",
                wait_s=5.0,
            )
        case _:
            return problem(Code.BROKEN, "something is broken here; please report it with the request's id")


def body_of(error: UseCaseError, request_id: str = "", oauth: str = "") -> dict[str, Any]:
    """The body of an error.

    Args:
        error: What is wrong.
        request_id: Under which the log has it.
        oauth: The ``error`` of RFC 6749, for the token endpoint.
    """
    number = error.error_code.partition("-")[0]
    gateway = len(number) == _GATEWAY_DIGITS
    body: dict[str, Any] = {
        "status": error.status,
        "title": error.title,
        "errorCode": error.error_code,
        # The gateway's codes have no status behind them.
        "error_code": number if gateway else error.error_code,
        "message": error.problem,
        "errorMessage": error.problem,
        "errorDetails": "; ".join(map(str, error.mistakes)),
        "mistakes": [
            {"place": each.place, "problem": each.problem, "allowed": each.allowed} for each in error.mistakes
        ],
        "requestId": request_id,
    }
    if oauth:
        body |= {"error": oauth, "error_description": error.problem}
    return body


def headers_of(error: UseCaseError) -> dict[str, str]:
    """Headers that go with an error."""
    headers = {}
    if error.wait_s > 0:
        headers["retry-after"] = str(max(1, math.ceil(error.wait_s)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status in (408, 413):
        # The rest of the body is not read.
        headers["connection"] = "close"
    return headers


def response_of(
    error: UseCaseError, request_id: str = "", *, oauth: str = "", headers: dict[str, str] | None = None
) -> Response:
    """The response of an error; arguments as of ``body_of``, and headers besides."""
    return Response(
        msgspec.json.encode(body_of(error, request_id, oauth)),
        status_code=error.status,
        media_type=JSON,
        headers={**headers_of(error), **(headers or {})},
    )


def unexpected(error: Exception, request_id: str) -> Response:
    """The answer to a mistake of ours; where it was is in the log alone, without the error's own words or values."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    where = [f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in frames]
    logs.get(request=request_id).error("broken", error=type(error).__name__, where=where)
    broken = problem(Code.BROKEN, f"something is broken here; the log has it under the request {request_id}")
    return response_of(broken, request_id)
