"""Put the console on a web application: pages under ``/ui``, static files under ``/static``, ``/`` leads there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles

from headrace.control.runtime import Runtime
from headrace.control.service import Control
from headrace.errors import HeadraceError

from . import rendering
from .pages import (
    access,
    accounts,
    activate,
    attributes,
    audiences,
    catalog,
    connect,
    destination,
    destinations,
    letters,
    live,
    monitoring,
    people,
    sign_in,
    watching,
)
from .sessions import Guarded, visitor
from .visit import Console, Visit, visit_of

_STATIC: Final = Path(__file__).parent / "static"
_PAGES: Final = (
    *(sign_in, catalog, connect, activate, destinations, destination, accounts, audiences, attributes),
    *(monitoring, live, people, letters, watching, access),
)


def mount(app: FastAPI, control: Control, runtime: Runtime) -> None:
    """Add the console to an application.

    Args:
        app: Takes the pages; what it answers elsewhere stays as it is.
        control: The use cases' parts.
        runtime: The engine.
    """
    console = Console(control=control, runtime=runtime, templates=rendering.Templates())
    app.mount("/ui", Guarded(pages(console)), name="console")
    app.mount("/static", Guarded(StaticFiles(directory=_STATIC), "no-cache"), name="static")
    app.add_route("/", _to_console, include_in_schema=False)


def pages(console: Console) -> Starlette:
    """Every page, as an application of its own: its errors are pages, those of the API stay what they are."""
    routes: list[BaseRoute] = [route for module in _PAGES for route in module.routes(console)]

    async def missing(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        try:
            visit = await run_in_threadpool(visit_of, console, request)
        except HeadraceError:
            # The database is what is missing.
            visit = Visit(console, request, caller=None, login="", secret=visitor(request))
        kind = "missing" if status in (404, 405) else "broken"
        return visit.page(
            "refused.html", status=status, title=visit.t(f"error.{kind}.title"), words=visit.t(f"error.{kind}.words"),
            mistakes=(), code="",
        )  # fmt: skip

    return Starlette(routes=routes, exception_handlers={HTTPException: missing, Exception: missing})


async def _to_console(_: Request) -> Response:
    return RedirectResponse("/ui/", status_code=307)
