"""Check base and target connections against what their destination says of itself.

The configuration file and the API's use cases share these rules; only where a thing is looked up differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace import settings
from headrace.core.compile import READ_ONLY
from headrace.core.report import Report, shown
from headrace.destinations.base import AuthSpec, Spec

from . import parameters

CONNECTION_KEYS: Final = ("id", "name", "description", "connectionSpec", "auth")
TARGET_KEYS: Final = ("id", "name", "description", "baseConnectionId", "connectionSpec", "data", "params")
_READ_ONLY: Final = READ_ONLY | {"state", "authorizedDate", "typeInfo"}


class Target(msgspec.Struct, frozen=True):
    """Where a flow's exports go.

    Attributes:
        spec_id: Connection spec id of the destination.
        auth: Parameters of the base connection; secret ones are ``settings.Secret``.
        params: Parameters of the target connection.
        auth_name: Name of the way to authenticate.
    """

    spec_id: str
    auth: dict[str, Any]
    params: dict[str, Any]
    auth_name: str = ""

    def revealed(self) -> dict[str, Any]:
        """``auth`` with its secrets as plain texts, for the destination alone."""
        return {
            name: value.reveal() if isinstance(value, settings.Secret) else value for name, value in self.auth.items()
        }


def read_connection(report: Report, given: Mapping[str, Any], at: str, specs: Mapping[str, Spec]) -> Target:
    """Read a base connection, its id apart.

    Args:
        report: Takes the mistakes.
        given: The resource.
        at: Its place.
        specs: Connection spec id to what the destination is.
    """
    report.members(given, at, CONNECTION_KEYS, _READ_ONLY)
    report.text(given, "name", at, required=True)
    report.text(given, "description", at)
    spec = read_spec(report, given, at, specs)
    auth_name, auth = read_auth(report, given.get("auth"), spec, f"{at}.auth") if spec else ("", {})
    return Target(spec.id if spec else "", auth, {}, auth_name)


def read_spec(report: Report, given: Mapping[str, Any], place: str, specs: Mapping[str, Spec]) -> Spec | None:
    """Read the member ``connectionSpec``; None with the mistake noted."""
    at = f"{place}.connectionSpec"
    allowed = ", ".join(f"{spec.id} ({spec.name})" for spec in specs.values())
    if given.get("connectionSpec") is None:
        report.mistake(at, "is missing", allowed)
        return None
    stated = report.members(given["connectionSpec"], at, ("id", "version"))
    if not report.text(stated, "id", at, required=True):
        return None
    spec = specs.get(stated["id"])
    if spec is None:
        report.mistake(f"{at}.id", f"{shown(stated['id'])} is not a known connection spec", allowed)
        return None
    # An unquoted 1.0 in YAML is a number and means the same.
    if str(stated.get("version", spec.version)) != spec.version:
        report.mistake(f"{at}.version", f"{shown(stated['version'])} is not known", spec.version)
    return spec


def read_auth(report: Report, value: Any, spec: Spec, at: str) -> tuple[str, dict[str, Any]]:
    """Read the member ``auth``: the way's name and its parameters, secret ones as ``Secret``."""
    ways = {way.name: way for way in spec.auth}
    if value is None and not any(parameter.required for way in spec.auth for parameter in way.parameters):
        way = spec.auth[0] if spec.auth else AuthSpec("", "", ())
        return way.name, parameters.read(report, None, way.parameters, f"{at}.params")
    if value is None:
        report.mistake(at, "is missing", "specName, params")
        return "", {}
    given = report.members(value, at, ("specName", "params"), ("authorizedDate",))
    if not isinstance(value, Mapping):
        return "", {}
    name = report.text(given, "specName", at, required=True)
    if name and name not in ways:
        report.mistake(f"{at}.specName", f"{shown(given['specName'])} is not known", ", ".join(ways))
    # With one way there is no doubt which parameters are meant, whatever the name.
    way = ways.get(name) or (spec.auth[0] if len(spec.auth) == 1 else AuthSpec("", "", ()))
    if name in ways or len(spec.auth) == 1:
        return way.name, parameters.read(report, given.get("params"), way.parameters, f"{at}.params")
    return "", {}


def read_target(
    report: Report, given: Mapping[str, Any], at: str, specs: Mapping[str, Spec], base: Target | None
) -> Target:
    """Read a target connection, its id apart; arguments as of ``read_connection``.

    Args:
        report: Takes the mistakes.
        given: The resource.
        at: Its place.
        specs: Connection spec id to what the destination is.
        base: Its base connection; None when that is not known, which the caller has noted.
    """
    report.members(given, at, TARGET_KEYS, _READ_ONLY)
    report.text(given, "name", at, required=True)
    report.text(given, "description", at)
    data = report.members(given.get("data"), f"{at}.data", ("format",))
    report.choice(data, "format", f"{at}.data", ("json",))
    stated = read_spec(report, given, at, specs) if given.get("connectionSpec") is not None else None
    if stated and base and base.spec_id and stated.id != base.spec_id:
        report.mistake(f"{at}.connectionSpec.id", "is not the base connection's", base.spec_id)
    spec = stated or (specs.get(base.spec_id) if base else None)
    params = _params(report, given.get("params"), spec, base, f"{at}.params") if spec else {}
    auth, auth_name = (base.auth, base.auth_name) if base else ({}, "")
    return Target(spec.id if spec else "", auth, params, auth_name)


def _params(report: Report, value: Any, spec: Spec, base: Target | None, at: str) -> dict[str, Any]:
    """Parameters of the target; those of the base connection may be repeated, but not differ."""
    own = {parameter.name for parameter in spec.target}
    plain = {parameter.name for way in spec.auth for parameter in way.parameters if not parameter.secret}
    params = parameters.read(report, value, spec.target, at, plain - own)
    if isinstance(value, Mapping) and base is not None:
        for name in sorted(plain & value.keys()):
            if name in base.auth and value[name] != base.auth[name]:
                report.mistake(
                    f"{at}.{name}", "differs from the base connection's, which counts", f"leave it out of {at}"
                )
    return params
