"""The application: every operation with its place, the bounds around it, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import anyio
from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Mount

from headrace import __version__
from headrace.control.problems import Code, problem
from headrace.control.runtime import Runtime
from headrace.control.service import Control

from . import (
    administration,
    backfills,
    connections,
    flows,
    openapi,
    pauses,
    problems,
    profiles,
    segments,
    sign_in,
    specs,
)
from .limits import Bounded, Limits
from .operation import Operations, Parts, endpoint

OPERATIONS: Final[tuple[Operations, ...]] = (
    sign_in.operations,
    specs.operations,
    connections.operations,
    connections.ours,
    flows.operations,
    segments.operations,
    profiles.operations,
    pauses.operations,
    backfills.operations,
    administration.operations,
)
"""Every part of the API, in the order of the docs."""

_READING_THREADS: Final = 1
"""Reads are work for the processor: two at once take turns at the interpreter, which costs a third of their time."""
_REMOTE_THREADS: Final = 2
"""Of a database elsewhere: one may wait for it while the other works."""
_WRITING_THREADS: Final = 4
"""Writers wait for each other; they must not hold up who reads. All together are fewer than the connections."""
_ENGINE_THREADS: Final = 8


def create_app(
    control: Control,
    runtime: Runtime,
    *,
    routers: Sequence[APIRouter | Mount] = (),
    limits: Limits | None = None,
) -> FastAPI:
    """The REST API as an ASGI application.

    Args:
        control: The parts of the control plane.
        runtime: The engine; what needs it answers 503 while it is not there.
        routers: Further routes beside the API's.
        limits: What one request, and one address, may take; the defaults when None.
    """
    app = FastAPI(
        title="Headrace",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        exception_handlers={HTTPException: _http},
    )
    parts = Parts(
        control=control,
        runtime=runtime,
        reading=anyio.CapacityLimiter(_REMOTE_THREADS if control.store.remote else _READING_THREADS),
        writing=anyio.CapacityLimiter(_WRITING_THREADS),
        asking=anyio.CapacityLimiter(_ENGINE_THREADS),
    )
    for operations in OPERATIONS:
        for operation in operations.rows:
            app.router.add_api_route(
                operations.prefix + operation.path,
                endpoint(parts, operation),
                methods=[operation.method],
                **openapi.fields(operations, operation),
            )
    # The document is of the API alone, without further routes; whoever asks first waits for it.
    documented = list(app.routes)
    for each in routers:
        if isinstance(each, Mount):
            app.router.routes.append(each)
        else:
            app.include_router(each)
    app.openapi = lambda: openapi.document(app, documented, OPERATIONS)  # type: ignore[method-assign]  # FastAPI documents it as the way
    app.add_middleware(Bounded, limits=limits or Limits(), clock=control.clock)
    return app


async def _http(request: Request, error: Exception) -> Response:
    """The answer of the framework itself: there is no such path, or it has other methods."""
    assert isinstance(error, HTTPException)
    request_id = request.scope.get("headrace.request_id", "")
    headers: dict[str, Any] = dict(error.headers or {})
    if error.status_code == 405:
        # The framework names only those of the first route of the path.
        routes = [each for each in request.app.routes if each.matches(request.scope)[0] is not Match.NONE]
        methods = sorted({method for each in routes for method in getattr(each, "methods", None) or ()})
        headers["Allow"] = ", ".join(methods)
        refused = problem(Code.WRONG_METHOD, f"the path has other methods: {headers['Allow']}")
    else:
        refused = problem(Code.NO_PATH, "the API has no such path; /openapi.json lists them")
    return problems.response_of(refused, request_id, headers=headers)
