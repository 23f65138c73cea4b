"""What a page did, as calls of the REST API that do the same: to be copied into a script."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.control.resources import MASK

from .visit import Visit

FLOW_SERVICE: Final = "/data/foundation/flowservice"


def call(visit: Visit, method: str, path: str, body: Any = None, *, etag: str = "") -> str:
    """A ``curl`` command; the token, the key and every secret are left for whoever runs it to fill in.

    Args:
        visit: Gives address, organisation and sandbox.
        method: Of HTTP.
        path: Below the Flow Service, or a whole path.
        body: Sent as JSON; None for none.
        etag: Of the version that is changed.
    """
    url = str(visit.request.base_url).rstrip("/").removesuffix("/ui")
    whole = path if path.startswith(("/data/", "/headrace/")) else FLOW_SERVICE + path
    headers = {
        "Authorization": "Bearer $TOKEN",
        "x-api-key": "$API_KEY",
        "x-gw-ims-org-id": visit.caller.scope.org,
        "x-sandbox-name": visit.caller.scope.sandbox,
    }
    lines = [f"curl -X {method} {shlex.quote(url + whole)}"]
    lines += [f'  -H "{name}: {value}"' for name, value in headers.items()]
    if etag:
        lines.append(f"  -H {shlex.quote(f'If-Match: {etag}')}")
    if body is not None:
        text = msgspec.json.format(msgspec.json.encode(body), indent=2).decode()
        lines.append('  -H "Content-Type: application/json"')
        lines.append(f"  -d {shlex.quote(text)}")
    return " \\\n".join(lines)


def without_secrets(body: Mapping[str, Any], secret: frozenset[str]) -> dict[str, Any]:
    """A base connection's body with the mask in the place of each secret."""
    auth = dict(body.get("auth") or {})
    if "params" not in auth:
        return dict(body)
    params = {name: MASK if name in secret else value for name, value in auth["params"].items()}
    return {**body, "auth": {**auth, "params": params}}
