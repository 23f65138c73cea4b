"""Dead letters: what was refused for good, why, its original bytes, and sending it again."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.calls import call
from headrace.console.causes import Speaker, export_of
from headrace.console.masking import masked, masked_message
from headrace.console.visit import Console, Visit, page
from headrace.control import dead_letters
from headrace.control.access import ACTIVATE

_MOST: Final = 100
_KINDS: Final = ("", "export", "update")


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/dead-letters", browse),
        page(console, "/dead-letters/replay", ask_replay),
        page(console, "/dead-letters/replay", replay, change=True),
        page(console, "/dead-letters/{letter}", show),
    ]


def browse(visit: Visit) -> Response:
    """The list: of one destination, or everything, refused updates too."""
    flow, reason, kind = visit.query("flow"), visit.query("reason"), visit.query("kind")
    rows = overview.rows(visit.control, visit.caller)
    arguments = {"limit": _MOST, "flow": flow or None, "reason": reason or None, "kind": kind or None}
    answer = visit.ask("dead-letters", **arguments)
    found = answer.value or []
    return visit.page(
        "letters.html", answer=answer, letters=found, rows=rows, flow=flow, reason=reason, kind=kind, kinds=_KINDS,
        names={each.id: each.name for each in rows}, reasons=sorted({each["reason"] for each in found} | {reason}),
        most=_MOST, replayable=_may_replay(visit, flow, kind),
    )  # fmt: skip


def show(visit: Visit) -> Response:
    """One dead letter."""
    letter_id, unmask = visit.path("letter"), visit.query("unmask") == "true"
    answer = visit.ask("dead-letter", id=letter_id)
    letter: dict[str, Any] = answer.value if isinstance(answer.value, dict) else {}
    export = export_of(letter.get("export"))
    raw = export.data if export else msgspec.convert(letter.get("body", ""), bytes)
    text = raw.decode(errors="backslashreplace")
    try:
        content = msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError):
        content = None
    hide = masked_message if export else masked
    speaker = Speaker(visit.t, overview.audience_names(visit.control, visit.caller))
    return visit.page(
        "letter.html", answer=answer, letter=letter, export=export, size_bytes=len(raw),
        content=content if unmask or content is None else hide(content), text=text if unmask else "",
        unmask=unmask, cause=speaker.whole(letter["export"][8]) if export else "",
        names={each.id: each.name for each in overview.rows(visit.control, visit.caller)},
        may_replay=_may_replay(visit, letter.get("flow", ""), letter.get("kind", "")),
        status=200 if letter or not answer.ok else 404,
    )  # fmt: skip


def _may_replay(visit: Visit, flow: str, kind: str) -> bool:
    """Whether to offer it: for the exports of one flow, or for updates."""
    return visit.may(*ACTIVATE) if flow else kind == "update" and visit.may(*dead_letters.REPLAY_UPDATES)


def _body(read: Any, ids: list[str], *, exports: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"original": read("original") == "true"} if exports else {}
    if ids:
        body["ids"] = ids
    if read("reason"):
        body["reason"] = read("reason")
    return body


def _replayed(visit: Visit, flow_id: str, body: dict[str, Any], *, dry_run: bool) -> engine.Answer:
    """Replay a flow's exports, or without a flow refused updates.

    Raises:
        UseCaseError: 2120-403, or what else the use case raises.
    """
    parts, whole = (visit.control, visit.runtime, visit.caller), {**body, "dryRun": dry_run}
    if flow_id:
        return engine.tried(lambda: dead_letters.replay_dead_letters(*parts, flow_id, whole))
    return engine.tried(lambda: dead_letters.replay_updates(*parts, whole))


def _name(visit: Visit, flow_id: str) -> str:
    if not flow_id:
        return visit.t("letters.updates")
    return overview.row(visit.control, visit.caller, flow_id).name


def ask_replay(visit: Visit) -> Response:
    """How many would be sent or decided again, found out by a dry run."""
    flow_id, ids = visit.query("flow"), [each for each in visit.request.query_params.getlist("id") if each]
    body = _body(visit.query, ids, exports=bool(flow_id))
    tried = _replayed(visit, flow_id, body, dry_run=True)
    path = f"/headrace/flows/{flow_id}/dead-letters/replay" if flow_id else "/headrace/dead-letters/replay"
    return visit.page(
        "replay.html", flow=flow_id, name=_name(visit, flow_id), ids=ids, reason=visit.query("reason"),
        original=body.get("original", False), tried=tried, calls=[call(visit, "POST", path, body)],
    )  # fmt: skip


def replay(visit: Visit) -> Response:
    """Send, or decide, again."""
    flow_id = visit.field("flow")
    body = _body(visit.field, visit.fields("id"), exports=bool(flow_id))
    done = _replayed(visit, flow_id, body, dry_run=False)
    return visit.page("replayed.html", flow=flow_id, done=done, status=200 if done.ok else 409)
