"""Audiences: those that are defined, new ones, and which destinations map them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.calls import call
from headrace.console.mistakes import told
from headrace.console.visit import Console, Visit, page
from headrace.control import audience_sizes, segments
from headrace.control.access import DEFINE, Permission, require
from headrace.errors import UseCaseError

_CALLS: Final = ("data/core/ups/audiences", "headrace/audience-sizes")


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/audiences", browse),
        page(console, "/audiences", make, change=True),
        page(console, "/audiences/{audience}/delete", ask_delete),
        page(console, "/audiences/{audience}/delete", delete, change=True),
    ]


def browse(visit: Visit, **context: Any) -> Response:
    """The list."""
    wanted = visit.query("q")
    found = segments.list_audiences(visit.control, visit.caller, limit=1000, sort="name:asc", name=wanted or None)
    using: dict[str, list[str]] = {}
    if visit.may(Permission.VIEW_DESTINATIONS):
        for row in overview.rows(visit.control, visit.caller):
            for each in row.audiences:
                using.setdefault(each["id"], []).append(row.name)
    sizes = told_sizes(visit) if found.items else engine.Answer()
    shown: dict[str, Any] = {"told": None, "typed": {}, "status": 200, **context}
    return visit.page(
        "audiences.html", audiences=found.items, total=found.total, wanted=wanted, using=using,
        sizes=sizes, calls=[call(visit, "GET", f"/{each}") for each in _CALLS], **shown,
    )  # fmt: skip


def told_sizes(visit: Visit, together: Iterable[tuple[str, str]] = ()) -> engine.Answer:
    """About how many members audiences have: ``control.audience_sizes.Sizes``."""
    return engine.tried(lambda: audience_sizes.audience_sizes(visit.control, visit.runtime, visit.caller, together))


def make(visit: Visit) -> Response:
    """Define an audience whose memberships arrive with the updates."""
    names = ("name", "description", "audienceId", "namespace")
    typed = {name: visit.field(name) for name in names}
    body = {
        "type": "ExternalAudience",
        "originName": "CUSTOM_UPLOAD",
        **{n: each for n, each in typed.items() if each},
    }
    try:
        segments.create_audience(visit.control, visit.caller, body)
    except UseCaseError as error:
        if error.status == 403:
            raise
        return browse(visit, told=told(visit.t, error), typed=typed, status=error.status)
    return visit.redirect("/ui/audiences")


def ask_delete(visit: Visit) -> Response:
    """What deleting would do."""
    require(visit.caller, DEFINE)
    found = segments.get_audience(visit.control, visit.caller, visit.path("audience"))
    return visit.page(
        "confirm.html", title=visit.t("audiences.delete_title", name=found["name"]),
        words=visit.t("audiences.delete_words"), points=[visit.t("audiences.delete_points")],
        action=f"/ui/audiences/{found['id']}/delete", button=visit.t("audiences.delete"), back="/ui/audiences",
        fields={}, calls=[call(visit, "DELETE", f"/data/core/ups/audiences/{found['id']}")],
        allowed=visit.can()["define"],
    )  # fmt: skip


def delete(visit: Visit) -> Response:
    """Delete an audience that no destination maps."""
    segments.delete_segment(visit.control, visit.caller, visit.path("audience"))
    return visit.redirect("/ui/audiences")
