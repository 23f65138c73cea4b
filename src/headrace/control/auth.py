"""The account at a destination that a base connection holds: checked, its secrets sealed, and opened again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.core.report import Report
from headrace.destinations.base import Spec
from headrace.errors import Mistake
from headrace.settings import Secret

from . import connection_rules as rules
from .connection_rules import Target
from .problems import Code, problem, refuse
from .resources import MASK, Resource, Scope
from .service import Control


def place(scope: Scope, connection_id: str, name: str) -> str:
    """What a secret parameter of a base connection is sealed for."""
    return f"{scope.org}/{scope.sandbox}/connections/{connection_id}/{name}"


def opened(control: Control, connection: Resource, names: Sequence[str] | None = None) -> dict[str, Secret]:
    """The secrets of a base connection.

    Args:
        control: Its sealer opens them.
        connection: As it is stored.
        names: Only these; None for all.

    Raises:
        UseCaseError: 3010-503.
    """
    return {
        name: control.sealer.open(sealed, place(connection.scope, connection.id, name))
        for name, sealed in connection.hidden.items()
        if names is None or name in names
    }


def base_target(control: Control, connection: Resource) -> Target:
    """A stored base connection as ``connection_rules`` has it, its secrets opened."""
    auth = connection.body.get("auth") or {}
    spec_id = connection.body["connectionSpec"]["id"]
    return Target(spec_id, {**auth.get("params", {}), **opened(control, connection)}, {}, auth.get("specName", ""))


def checked(
    control: Control, scope: Scope, connection_id: str, document: Mapping[str, Any], old: Resource | None
) -> tuple[dict[str, Any], dict[str, str], Target]:
    """Check a base connection, and take its secrets out of the document.

    Args:
        control: The parts.
        scope: Where it belongs.
        connection_id: What its secrets are sealed for.
        document: With the secrets as they were sent; the mask stands for the one that is stored.
        old: As it is stored; None when it is new.

    Returns:
        The document without secrets, the sealed secrets by name, and what the destination gets.

    Raises:
        UseCaseError: 1413-400, 1415-400, 3000-400, 3001-422, 3007-403 or 3008-400.
    """
    spec = spec_of(control, document)
    known_way(document, spec)
    secret = control.catalog.secret_names(spec.id)
    kept = _kept(document, old, secret)
    plain = _with(document, {name: each.reveal() for name, each in opened(control, old, kept).items()} if old else {})
    report = Report()
    target = rules.read_connection(report, plain, "", control.catalog.specs)
    refuse(report.mistakes)
    params = _params(plain)
    control.reach.check(report, params, spec, target.auth_name, "auth.params")
    refuse(report.mistakes, Code.ADDRESS_REFUSED)
    refuse(destination_mistakes(control, target, "auth"))
    hidden = {
        name: old.hidden[name]
        if old and name in kept
        else control.sealer.seal(value, place(scope, connection_id, name))
        for name, value in params.items()
        if name in secret and isinstance(value, str)
    }
    return _without(document, secret), hidden, target


def spec_of(control: Control, document: Mapping[str, Any]) -> Spec:
    """The spec that a connection names.

    Raises:
        UseCaseError: 1413-400, 3000-400, or 3001-422 when the version is missing.
    """
    stated = document.get("connectionSpec")
    if isinstance(stated, Mapping):
        if "version" not in stated:
            raise problem(
                Code.VERSION_MISSING,
                "connectionSpec.version is missing",
                mistakes=[_mistake("version", "is missing")],
            )
        spec = control.catalog.specs.get(stated["id"]) if isinstance(stated.get("id"), str) else None
        if spec is None and stated.get("id") is not None:
            raise problem(
                Code.BAD_SPEC,
                "the spec id provided is invalid; please provide a valid spec id",
                mistakes=[_mistake("id", "is not a known connection spec", ", ".join(control.catalog.specs))],
            )
    report = Report()
    found = rules.read_spec(report, document, "", control.catalog.specs)
    refuse(report.mistakes)
    assert found is not None
    return found


def _mistake(name: str, words: str, allowed: str = "") -> Mistake:
    return Mistake(f"connectionSpec.{name}", words, allowed)


def known_way(document: Mapping[str, Any], spec: Spec) -> None:
    """Refuse a way to authenticate that the spec does not have.

    Raises:
        UseCaseError: 1415-400.
    """
    auth = document.get("auth")
    name = auth.get("specName") if isinstance(auth, Mapping) else None
    ways = [way.name for way in spec.auth]
    if isinstance(name, str) and name and name not in ways:
        raise problem(
            Code.UNKNOWN_AUTH_SPEC,
            f"the auth spec could not be found for the connection spec ID {spec.id}; "
            f"known: {', '.join(ways) or 'none'}",
        )


def destination_mistakes(control: Control, target: Target, section: str) -> list[Mistake]:
    """What the destination itself finds wrong in a section (``auth`` or ``target``), placed as the API has it."""
    destination = control.destinations.get(target.spec_id)
    if destination is None:
        return []
    as_sent = {"auth": "auth.params", "target": "params"}[section]
    return [
        each._replace(place=as_sent + each.place.removeprefix(section))
        for each in destination.mistakes(target.revealed(), target.params)
        if each.place.partition(".")[0] == section
    ]


def _params(document: Mapping[str, Any]) -> Mapping[str, Any]:
    auth = document.get("auth")
    params = auth.get("params") if isinstance(auth, Mapping) else None
    return params if isinstance(params, Mapping) else {}


def _with(document: Mapping[str, Any], secrets: Mapping[str, str]) -> Mapping[str, Any]:
    """The document with secrets in the place of their masks."""
    if not secrets:
        return document
    return {**document, "auth": {**document["auth"], "params": {**_params(document), **secrets}}}


def _without(document: Mapping[str, Any], secret: frozenset[str]) -> dict[str, Any]:
    params = _params(document)
    if not params:
        return dict(document)
    plain = {name: value for name, value in params.items() if name not in secret}
    return {**document, "auth": {**document["auth"], "params": plain}}


def _kept(document: Mapping[str, Any], old: Resource | None, secret: frozenset[str]) -> list[str]:
    """Secrets that stay as they are stored: those for which the mask was sent back.

    A secret stays only where it goes to the same place: otherwise whoever may edit a connection could have it sent
    to a server of their own.

    Raises:
        UseCaseError: 3008-400, there is none stored, or where it goes has changed.
    """
    params = _params(document)
    kept = [name for name in params if name in secret and params[name] == MASK]
    if not kept:
        return []
    missing = [name for name in kept if old is None or name not in old.hidden]
    if missing:
        raise problem(
            Code.SECRET_MISSING,
            f"auth.params.{missing[0]} holds the mask and no secret is stored for it; give the secret itself",
        )
    assert old is not None
    before = _params(old.body)
    moved = [
        name
        for name in sorted({*params, *before} - secret)
        if (name.endswith("Url") or name == "namespace") and params.get(name) != before.get(name)
    ]
    if moved:
        raise problem(
            Code.SECRET_MISSING,
            f"auth.params.{moved[0]} changes where the secret {kept[0]} goes, so the secret must be given again",
        )
    return kept
