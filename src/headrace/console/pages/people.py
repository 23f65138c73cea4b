"""Profile lookup: who somebody is, what was sent about them and why, why something was not; and forgetting them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.calls import call
from headrace.console.causes import Speaker
from headrace.console.visit import Console, Visit, page
from headrace.control import profiles, segments
from headrace.control.access import Permission, require
from headrace.control.problems import Code
from headrace.errors import UseCaseError

_EXPORTS: Final = 25
_SEEN: Final = 8
"""People that are offered to whoever does not know whom to look for."""
_TRIED: Final = 20
"""Namespaces in which an identity without one is looked for."""
_INPUTS: Final = 20
_ALL_INPUTS: Final = 100
STEPS: Final = ("deleting", "settling", "erasing", "compacting", "done")
"""States of a deletion, in order."""


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/profile", look_up),
        page(console, "/profile/delete", ask_delete),
        page(console, "/profile/delete", delete, change=True),
        page(console, "/profile/deletions/{run}", show_deletion),
        page(console, "/explain", explain),
    ]


def look_up(visit: Visit) -> Response:
    """The form, and the profile that it names."""
    require(visit.caller, engine.NEEDED["explain"])
    namespace, identity, profile_id = visit.query("namespace"), visit.query("id"), visit.query("profile")
    seen = visit.ask("profiles-seen", most=0 if identity or profile_id else _SEEN)
    tries = [(namespace, identity, profile_id)]
    if identity and not namespace:
        tries = places(identity, seen)
    shown: dict[str, Any] = {
        "namespace": namespace, "identity": identity, "found": None, "problem": "", "missing": False,
        "profile_id": profile_id,
        "unmask": visit.query("unmask") == "true", "exports": engine.Answer([]), "last": None, "names": {},
        "flows": {}, "calls": [], "older": 0, "inputs": engine.Answer([]), "more": False,
        "seen": seen,
    }  # fmt: skip
    for namespace, identity, profile_id in tries:
        if not (profile_id or (namespace and identity)):
            continue
        try:
            found = read(visit, namespace, identity, profile_id)
        except UseCaseError as error:
            if error.error_code != Code.NOT_FOUND:
                raise
            shown["missing"] = True
            continue
        shown |= {"missing": False, "namespace": namespace, "identity": identity, "profile_id": profile_id}
        if profile_id and found.ok and found.value.identities:
            first = found.value.identities[0]
            namespace, identity = first["namespace"], first["id"]
        shown |= _about(visit, found, f"{namespace}:{identity}")
        shown |= {"calls": _calls(visit, namespace, identity)}
        shown |= {"delete_at": urlencode({"namespace": namespace, "id": identity})}
        break
    return visit.page("profile.html", **shown)


def places(text: str, seen: engine.Answer) -> list[tuple[str, str, str]]:
    """Where to look for what was typed without a namespace: a namespace, identity and profile id each.

    A profile's id, as Live view and Explain show it, belongs to no namespace; ``email:a@example.com`` names its own;
    and whoever has nothing but an address need not know what a namespace is.
    """
    namespaces: Sequence[str] = seen.value["namespaces"] if seen.ok else ()
    before, _, rest = text.partition(":")
    named = [(before.lower(), rest, "")] if rest and before.lower() in namespaces else []
    return [("", "", text), *named, *((each, text, "") for each in namespaces[:_TRIED])]


def read(visit: Visit, namespace: str, identity: str, profile_id: str) -> engine.Answer:
    """The profile of an id, or of an identity.

    Raises:
        UseCaseError: 1101-404, 1451-400.
    """
    if profile_id:
        return engine.tried(
            lambda: profiles.read_profile_by_id(visit.control, visit.runtime, visit.caller, profile_id)
        )
    return engine.tried(
        lambda: profiles.read_profile(visit.control, visit.runtime, visit.caller, namespace, identity)
    )


def _calls(visit: Visit, namespace: str, identity: str) -> list[str]:
    """The profile by the API; its identity stands in the address only when it was asked to be shown."""
    known = visit.query("unmask") == "true" or visit.query("id") == identity
    query = urlencode({"schema.name": "_xdm.context.profile", "entityId": identity, "entityIdNS": namespace})
    return [call(visit, "GET", f"/data/core/ups/access/entities?{query}")] if known else []


def _about(visit: Visit, found: engine.Answer, name: str) -> dict[str, Any]:
    """What is known of a profile: exports, the last input and what each flow made of it."""
    exports, older = engine.Answer([]), 0
    if found.ok:
        exports, older = _exports(visit, found.value.profile_id)
    last = visit.ask("explain", identity=name)
    inputs, more = _inputs(visit, found.value.profile_id if found.ok else "")
    known: dict[str, str] = {}
    if found.ok and visit.may(Permission.VIEW_SEGMENTS):
        memberships = found.value.entity.get("segmentMembership") or {}
        ids = [{"id": each} for members in memberships.values() for each in members]
        if ids:
            defined = segments.get_segments(visit.control, visit.caller, {"ids": ids[:1000]})
            known = {segment_id: each["name"] for segment_id, each in defined.items()}
    return {
        "found": found.value,
        "problem": found.problem,
        "exports": exports,
        "older": older,
        "last": last,
        "inputs": inputs,
        "more": more,
        "names": known,
        "flows": overview.flow_names(visit.control, visit.caller, {each["flow"] for each in exports.value or ()}),
        "cause": Speaker(visit.t, overview.audience_names(visit.control, visit.caller)),
    }


def _exports(visit: Visit, profile_id: str) -> tuple[engine.Answer, int]:
    """Exports about a profile, the latest first; and before when those of the next page settled, 0 at the end."""
    until = visit.query("until")
    before = {"until_ms": int(until)} if until.isdecimal() and len(until) < 16 else {}
    answer = visit.ask("ledger", profile_id=profile_id, limit=_EXPORTS + 1, **before)
    found = answer.value or []
    if len(found) <= _EXPORTS:
        return answer, 0
    # A lane has one export on its way, so that no two about a profile settle at once.
    return engine.Answer(found[:_EXPORTS]), int(found[_EXPORTS]["settled_ms"]) + 1


def _inputs(visit: Visit, profile_id: str) -> tuple[engine.Answer, bool]:
    """The last inputs about a profile, the newest first, and whether there are more of them to show."""
    if not profile_id:
        return engine.Answer([]), False
    if visit.query("inputs") == "all":
        return visit.ask("profile-inputs", profile_id=profile_id, most=_ALL_INPUTS), False
    answer = visit.ask("profile-inputs", profile_id=profile_id, most=_INPUTS + 1)
    found = answer.value or []
    return (engine.Answer(found[:_INPUTS]), True) if len(found) > _INPUTS else (answer, False)


def explain(visit: Visit) -> Response:
    """One export, place on a stream, or input: why it was made and where it is."""
    asked = {
        "export_id": visit.query("export"),
        "shard": visit.query("shard"),
        "sequence": visit.query("sequence"),
        "identity": visit.query("identity"),
        "flow": visit.query("flow"),
    }
    wanted: dict[str, Any] = {name: value for name, value in asked.items() if value}
    if visit.query("ordinal").isdecimal():
        wanted["ordinal"] = int(visit.query("ordinal"))
    if wanted.keys() == {"flow"}:
        wanted = {}
    require(visit.caller, engine.NEEDED["explain"])
    answer = visit.ask("explain", **wanted) if wanted else None
    inputs, more = _inputs(visit, answer.value["profile"]["id"] if answer and answer.ok else "")
    return visit.page(
        "explain.html", asked=asked, answer=answer, unmask=visit.query("unmask") == "true",
        inputs=inputs, more=more,
        cause=Speaker(visit.t, overview.audience_names(visit.control, visit.caller)),
    )  # fmt: skip


def ask_delete(visit: Visit) -> Response:
    """What deleting would do."""
    namespace, identity = visit.query("namespace"), visit.query("id")
    require(visit.caller, (Permission.MANAGE_PROFILES,))
    found = profiles.read_profile(visit.control, visit.runtime, visit.caller, namespace, identity)
    return visit.page(
        "confirm.html", title=visit.t("profile.delete_title"), words=visit.t("profile.delete_words"),
        points=[
            visit.t("profile.delete_identities", count=len(found.identities)),
            visit.t("profile.delete_exit"),
            visit.t("profile.delete_records"),
        ],
        action="/ui/profile/delete", button=visit.t("profile.delete"), back=f"/ui/profile?{visit.request.url.query}",
        fields={"namespace": namespace, "id": identity}, calls=[], allowed=True,
    )  # fmt: skip


def delete(visit: Visit) -> Response:
    """Begin to delete a profile, and go on where one sees how far it is."""
    namespace, identity = visit.field("namespace"), visit.field("id")
    answer = engine.tried(
        lambda: profiles.delete_profile(visit.control, visit.runtime, visit.caller, namespace, identity)
    )
    if answer.ok:
        return visit.redirect(f"/ui/profile/deletions/{answer.value['run']}")
    return visit.page("profile_deleted.html", answer=answer, one={}, steps=STEPS, names={}, calls=[], status=409)


def show_deletion(visit: Visit) -> Response:
    """How far a deletion is; the page asks again until it is done."""
    run = visit.path("run")
    answer = engine.tried(lambda: profiles.list_deletions(visit.control, visit.runtime, visit.caller, run))
    names = {}
    if visit.may(Permission.VIEW_DESTINATIONS):
        waited = {flow_id for name in ("exports", "waits_for") for flow_id in (answer.value or [{}])[0].get(name, ())}
        names = overview.flow_names(visit.control, visit.caller, waited)
    return visit.page(
        "profile_deleted.html", answer=answer, one=(answer.value or [{}])[0], steps=STEPS, names=names,
        calls=[call(visit, "GET", f"/headrace/profile-deletions?run={run}")],
    )  # fmt: skip
