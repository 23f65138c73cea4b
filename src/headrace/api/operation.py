"""An operation: declared once, with all that OpenAPI says of it, and turned into an endpoint.

An endpoint reads the request, finds out who calls, runs the operation and encodes its answer: in one thread, since
use cases block; or on the loop, for an operation that waits for the network.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

import anyio
import anyio.to_thread
import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from headrace import logs
from headrace.control import sessions
from headrace.control.access import Caller, Permission
from headrace.control.problems import Code
from headrace.control.resources import Scope
from headrace.control.runtime import Runtime
from headrace.control.service import Control
from headrace.errors import HeadraceError, UseCaseError

from . import problems
from .call import Answer, Call, read_query

Handler = Callable[[Call], Answer | Awaitable[Answer]]

COMMON: Final = (400, 401, 403, 404, 408, 413, 429, 503)
"""What any operation that needs a token may answer besides."""
OPEN: Final = (400, 408, 413, 429, 503)
"""What an operation without a token may answer besides."""
NOBODY: Final = Caller(scope=Scope(""), subject="", kind="nobody")


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of the query or of the headers.

    Attributes:
        name: As it is sent.
        words: One sentence.
        schema: JSON Schema of one value.
        where: query or header.
        required: It must be there.
        many: It may be there several times.
    """

    name: str
    words: str
    schema: Mapping[str, Any] = MappingProxyType({"type": "string"})
    where: str = "query"
    required: bool = False
    many: bool = False


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the API.

    Attributes:
        method: GET, POST, …
        path: With its parameters in braces, without the prefix.
        name: Unique; the operation's id in OpenAPI.
        summary: One line.
        description: What else there is to know.
        run: Does it.
        parameters: Of query and headers, beyond those that every operation has.
        body: Schema of the body; None for none.
        body_required: False for a body that may be left out.
        media: Media type of the body.
        status: When all is well.
        answer: Schema of what is answered then; None for no body.
        refusals: Statuses beyond the usual ones.
        needs: Permissions, for the docs; the use case checks them.
        signed_in: False for an operation that needs no token.
        asks_engine: It needs the engine, which may take long.
    """

    method: str
    path: str
    name: str
    summary: str
    description: str
    run: Handler
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, Any] | None = None
    body_required: bool = True
    media: str = "application/json"
    status: int = 200
    answer: Mapping[str, Any] | None = None
    refusals: Sequence[int] = ()
    needs: Sequence[Permission] = ()
    signed_in: bool = True
    asks_engine: bool = False

    @property
    def statuses(self) -> list[int]:
        """Every status that it may answer with, when something is wrong."""
        return sorted({*(COMMON if self.signed_in else OPEN), *self.refusals, 500})


class Operations:
    """The operations of one part of the API.

    Args:
        prefix: Path before each operation's own.
        tag: Name of the part.

    Attributes:
        rows: In the order of declaration.
    """

    def __init__(self, prefix: str, tag: str) -> None:
        self.prefix = prefix
        self.tag = tag
        self.rows: list[Operation] = []

    def __call__(self, method: str, path: str, **fields: Any) -> Callable[[Handler], Handler]:
        """Declare the function below; its docstring's first line is the summary, the rest the description."""

        def declare(run: Handler) -> Handler:
            summary, _, rest = inspect.cleandoc(run.__doc__ or "").partition("\n")
            first, *others = run.__name__.split("_")
            name = first + "".join(each.capitalize() for each in others)
            self.rows.append(
                Operation(
                    method=method, path=path, name=name, summary=summary.rstrip("."),
                    description=" ".join(rest.split()), run=run, **fields,
                )
            )  # fmt: skip
            return run

        return declare


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What endpoints share.

    Attributes:
        control: The parts of the control plane.
        runtime: The engine.
        reading: Operations that read the store at once.
        writing: Operations that change it at once, and sign-ins.
        asking: Operations that wait for the engine at once.
    """

    control: Control
    runtime: Runtime
    reading: anyio.CapacityLimiter
    writing: anyio.CapacityLimiter
    asking: anyio.CapacityLimiter

    def limiter(self, operation: Operation) -> anyio.CapacityLimiter:
        """What an operation waits for."""
        if operation.asks_engine:
            return self.asking
        return self.reading if operation.method == "GET" else self.writing


def endpoint(parts: Parts, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    """What answers requests of an operation."""
    allowed = frozenset(each.name for each in operation.parameters if each.where == "query")
    waits = inspect.iscoroutinefunction(operation.run)
    limiter = parts.limiter(operation)

    async def answer(request: Request) -> Response:
        request_id = request.scope.get("headrace.request_id", "")
        try:
            raw = await request.body() if operation.body is not None else b""
            prepare = functools.partial(_call, parts, operation, request, raw, allowed)
            if waits:
                call = await anyio.to_thread.run_sync(prepare, limiter=limiter)
                made = await cast(Awaitable[Answer], operation.run(call))
                return _response(made)
            return await anyio.to_thread.run_sync(lambda: _done(operation, prepare()), limiter=limiter)
        except HeadraceError as error:
            refused = problems.as_use_case(error)
            if refused.status >= 500:
                logs.get(operation=operation.name, request=request_id).warning("refused", error=error.code)
            return problems.response_of(refused, request_id, oauth=_oauth(operation, refused))

    return answer


def _done(operation: Operation, call: Call) -> Response:
    return _response(cast(Answer, operation.run(call)))


def _call(parts: Parts, operation: Operation, request: Request, raw: bytes, allowed: frozenset[str]) -> Call:
    headers = request.headers
    # Who calls comes first: somebody unknown learns nothing of what else is wrong.
    caller = NOBODY
    if operation.signed_in:
        caller = sessions.identify(
            parts.control,
            authorization=headers.get("authorization"),
            api_key=headers.get("x-api-key"),
            org=headers.get("x-gw-ims-org-id"),
            sandbox=headers.get("x-sandbox-name"),
            sandbox_id=headers.get("x-sandbox-id"),
        )
    scope = request.scope
    return Call(
        control=parts.control,
        runtime=parts.runtime,
        caller=caller,
        path=scope["path_params"],
        query=read_query(scope["query_string"].decode("latin-1"), allowed),
        raw=raw,
        if_match=headers.get("if-match"),
        address=request.client.host if request.client else "",
        base_url=f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}",
    )


def _response(answer: Answer) -> Response:
    content = b"" if answer.content is None else msgspec.json.encode(answer.content)
    return Response(
        content,
        status_code=answer.status,
        headers=dict(answer.headers) or None,
        media_type=None if answer.content is None else problems.JSON,
        background=BackgroundTask(answer.after) if answer.after else None,
    )


def _oauth(operation: Operation, error: UseCaseError) -> str:
    """The error code of RFC 6749 that an error of the token endpoint has besides."""
    if operation.signed_in:
        return ""
    return "invalid_client" if error.error_code == Code.SIGN_IN_FAILED else "invalid_request"
