"""The OpenAPI document: what each operation says of itself, and the schemas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from .operation import Operation, Operations, Parameter
from .schemas import ref
from .shapes import COMPONENTS

DESCRIPTION: Final = (
    "Headrace's control plane. The resources are those of Adobe's Flow Service and Segmentation Service APIs, so "
    "that what was written for these works here, unmodified but for the base URL; what begins with /headrace is "
    "ours."
)
_WORDS: Final = {
    400: "Something in the request is wrong; every place is listed.",
    401: "The token, the organisation or the secret is wrong.",
    403: "The token or the API key is missing, or the account lacks a permission.",
    404: "There is no such resource, or no such sandbox.",
    408: "The body did not arrive in time.",
    409: "The name or the id is taken, others use it, or the configuration file rules.",
    412: "Somebody changed the resource since it was read.",
    413: "The body is too large.",
    422: "A member is missing that the Flow Service answers with this status.",
    429: "Too many requests, or too many failed sign-ins; `Retry-After` says how long to wait.",
    500: "A mistake of ours.",
    503: "The engine, or the database, does not answer; `Retry-After` says when to try again.",
}
_SIGNED_IN: Final = (
    Parameter(name="x-api-key", words="The client's id.", where="header", required=True),
    Parameter(name="x-gw-ims-org-id", words="The organisation's id.", where="header", required=True),
    Parameter(name="x-sandbox-name", words="The sandbox's name; `prod` when absent.", where="header"),
)


def fields(operations: Operations, operation: Operation) -> dict[str, Any]:
    """What FastAPI is told of an operation."""
    needs = ", ".join(operation.needs)
    description = operation.description
    if needs:
        description = f"{description}\n\nNeeds {needs}.".strip()
    extra: dict[str, Any] = {
        "parameters": [_parameter(each) for each in _all_parameters(operation)],
        "security": [{"bearer": []}] if operation.signed_in else [],
    }
    if operation.body is not None:
        extra["requestBody"] = {
            "required": operation.body_required,
            "content": {operation.media: {"schema": operation.body}},
        }
    return {
        "operation_id": operation.name,
        "summary": operation.summary,
        "description": description or operation.summary,
        "tags": [operations.tag],
        "status_code": operation.status,
        "response_model": None,
        "openapi_extra": extra,
    }


def document(app: FastAPI, routes: Sequence[BaseRoute], declared: Sequence[Operations]) -> dict[str, Any]:
    """The OpenAPI document of the application, made once.

    Args:
        app: The application.
        routes: Those of its operations.
        declared: Its operations.
    """
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=DESCRIPTION, routes=routes, servers=[{"url": "/"}]
        )
        answers = {each.name: _answers(each) for part in declared for each in part.rows}
        for path in made["paths"].values():
            for operation in path.values():
                # In the place of the framework's own guesses.
                operation["responses"] = answers[operation["operationId"]]
        made["components"] = {
            "schemas": COMPONENTS,
            "responses": {f"Refused{status}": _refusal(status) for status in _WORDS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        }
        app.openapi_schema = made
    return app.openapi_schema


def text(app: FastAPI) -> str:
    """The document as docs/openapi.json has it: sorted, so that a change shows as what it is."""
    return msgspec.json.format(msgspec.json.encode(app.openapi(), order="deterministic"), indent=1).decode() + "\n"


def _answers(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if operation.answer is not None:
        good["content"] = {"application/json": {"schema": operation.answer}}
    refused = {str(status): {"$ref": f"#/components/responses/Refused{status}"} for status in operation.statuses}
    return {str(operation.status): good, **refused}


def _all_parameters(operation: Operation) -> list[Parameter]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    path = [Parameter(name=name, words="Its id.", where="path", required=True) for name in names]
    return [*path, *(_SIGNED_IN if operation.signed_in else ()), *operation.parameters]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: Any = dict(parameter.schema)
    if parameter.many:
        schema = {"type": "array", "items": schema}
    made = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.words,
        "schema": schema,
    }
    if parameter.many:
        made |= {"style": "form", "explode": True}
    return made


def _refusal(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": _WORDS[status],
        "content": {"application/json": {"schema": ref("Problem")}},
    }
    if status in (429, 503):
        made["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}
    return made
