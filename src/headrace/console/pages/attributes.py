"""Attributes: the paths that profiles have, those that a JSON Schema of profiles knows, and that schema itself."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine
from headrace.console.calls import call
from headrace.console.visit import Console, Visit, page
from headrace.control import profile_schemas, profiles
from headrace.control.access import Permission, require
from headrace.control.problems import Code
from headrace.errors import Mistake, UseCaseError

_AT: Final = "/ui/attributes"
_CALL: Final = "/headrace/profile-schema"
_VIEW: Final = (Permission.VIEW_PROFILES,)
_CHANGE: Final = (Permission.MANAGE_PROFILES,)


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/attributes", browse),
        page(console, "/attributes", put, change=True),
        page(console, "/attributes/delete", ask_delete),
        page(console, "/attributes/delete", delete, change=True),
    ]


def browse(visit: Visit, **context: Any) -> Response:
    """The paths, and the schema that is kept."""
    require(visit.caller, _VIEW)
    schema = _stored(visit)
    observed = engine.tried(lambda: profiles.observed_schema(visit.control, visit.runtime, visit.caller))
    found = observed.value or []
    if schema and not observed.ok:
        known = profile_schemas.Schema(schema["schema"]).leaves()
        found = [{"path": path, "type": kind, "count": 0, "declared": True} for path, kind in known]
    calls = [call(visit, "GET", _CALL), call(visit, "GET", "/headrace/observed-schema")]
    if schema:
        calls.insert(1, call(visit, "PUT", _CALL, {"type": "object", "properties": {"…": {}}}))
    shown: dict[str, Any] = {"wrong": [], "typed": "", "status": 200, **context}
    return visit.page(
        "attributes.html", schema=schema, observed=observed, found=found, calls=calls,
        unknown=sum(each.get("declared") is False for each in found),
        unseen=sum(not each.get("count") for each in found), **shown,
    )  # fmt: skip


def _stored(visit: Visit) -> dict[str, Any] | None:
    """The sandbox's schema; None without one."""
    try:
        return profile_schemas.get_schema(visit.control, visit.caller)
    except UseCaseError as error:
        if error.error_code != Code.NOT_FOUND:
            raise
        return None


def put(visit: Visit) -> Response:
    """Keep the schema that was pasted or read from a file, in the place of the one before."""
    text = visit.typed("document")
    try:
        profile_schemas.put_schema(visit.control, visit.caller, _decoded(visit, text))
    except UseCaseError as error:
        if error.status == 403:
            raise
        return browse(visit, status=error.status, typed=text, wrong=error.mistakes or [Mistake("", error.problem)])
    except msgspec.DecodeError as error:
        wrong = [Mistake("", visit.t("attributes.not_json"), str(error))]
        return browse(visit, status=400, typed=text, wrong=wrong)
    return visit.redirect(_AT)


def _decoded(visit: Visit, text: str) -> Any:
    """The document.

    Raises:
        UseCaseError: 2120-403, before anything of it is looked at.
    """
    require(visit.caller, _CHANGE)
    return msgspec.json.decode(text)


def ask_delete(visit: Visit) -> Response:
    """What deleting would do."""
    require(visit.caller, _CHANGE)
    return visit.page(
        "confirm.html", title=visit.t("attributes.delete_title"), words=visit.t("attributes.delete_words"),
        points=[visit.t("attributes.delete_points")], action=f"{_AT}/delete", button=visit.t("attributes.delete"),
        back=_AT, fields={}, calls=[call(visit, "DELETE", _CALL)], allowed=visit.can()["schema"],
    )  # fmt: skip


def delete(visit: Visit) -> Response:
    """Forget the schema."""
    profile_schemas.delete_schema(visit.control, visit.caller)
    return visit.redirect(_AT)
