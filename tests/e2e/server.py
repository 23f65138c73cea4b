"""``headrace serve`` with its API, as tests use it: started, its first credentials read, called, stopped."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from tests.cli.commands import Running, background

KINESIS_ID: Final = "86043421-563b-46ec-8e6c-e23184711bf6"
PROFILES_ID: Final = "8a9c3494-9708-43d7-ae3f-cda01e5030e1"
FLOW_SPEC_ID: Final = "71471eba-b620-49e4-90fd-23f1fa0174d8"
FLOWS: Final = "/data/foundation/flowservice"
BOUND_S: Final = 60.0
PLANTED: Final = "PLANTED/api+secret=7f3a9"
"""A secret access key that must appear nowhere."""


class Credentials(msgspec.Struct, frozen=True):
    """What the first start shows."""

    organisation: str
    client_id: str
    client_secret: str
    login: str
    password: str


def credentials(text: str) -> Credentials:
    """The credentials that a first start has printed."""

    def value(name: str) -> str:
        found = re.search(rf"^  {name} +(\S+)$", text, re.MULTILINE)
        assert found, text
        return found[1]

    return Credentials(
        value("organisation"), value("client id"), value("client secret"), value("login"), value("password")
    )


class Server:
    """A running ``headrace serve``.

    Attributes:
        running: The process of the engine.
        data: Its data folder.
        api: URL of the API.
        collection: URL of the collection.
        keys: Credentials of the first start.
    """

    def __init__(self, running: Running, data: Path, keys: Credentials | None = None) -> None:
        self.running, self.data = running, data
        running.until(lambda: '"event": "ready"' in running.said())
        line = next(each for each in running.said().splitlines() if '"event": "ready"' in each)
        said = msgspec.json.decode(line)
        self.api: str = said["api"]
        self.collection: str = said["collection"].removesuffix("/{inlet}")
        if keys is None:
            running.until(lambda: "client secret" in running.shown() and "Lost ones" in running.shown())
            keys = credentials(running.shown())
        self.keys = keys
        self._token = ""

    def token(self) -> str:
        """A bearer token of the first client."""
        answer = httpx.post(
            f"{self.api}/ims/token/v3",
            data={
                "grant_type": "client_credentials", "client_id": self.keys.client_id,
                "client_secret": self.keys.client_secret, "scope": "openid",
            },
            timeout=BOUND_S,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    @property
    def headers(self) -> dict[str, str]:
        """What every call of the first client sends."""
        self._token = self._token or self.token()
        return {
            "Authorization": f"Bearer {self._token}", "x-api-key": self.keys.client_id,
            "x-gw-ims-org-id": self.keys.organisation, "x-sandbox-name": "prod",
        }  # fmt: skip

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One call of the API; names of headers with underscores."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return httpx.request(
            method, self.api + path, json=body, headers={**self.headers, **named}, timeout=BOUND_S
        )  # fmt: skip

    def made(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer of a call that must do well."""
        answer = self.call(method, path, body, **headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def patch(self, path: str, *operations: Mapping[str, Any]) -> Any:
        """Change a resource of the Flow Service, as it is now."""
        item = self.made("GET", path)["items"][0]
        return self.made("PATCH", path, list(operations), If_Match=item["etag"])

    def post(self, *updates: Mapping[str, Any]) -> None:
        """Post updates; each must be stored."""
        answer = httpx.post(
            f"{self.collection}/batch/web", content=msgspec.json.encode({"messages": list(updates)}),
            headers={"Content-Type": "application/json"}, timeout=BOUND_S,
        )  # fmt: skip
        assert answer.status_code == 207, answer.text
        assert all("status" not in each for each in answer.json()["responses"]), answer.text

    def health(self, path: str) -> httpx.Response:
        """GET of a page beside the collection."""
        return httpx.get(self.collection.removesuffix("/collection") + path, timeout=BOUND_S)

    def flows(self) -> dict[str, str]:
        """Flows that the engine runs, and how they are."""
        found: dict[str, str] = self.health("/readyz").json()["flows"]
        return found

    def control_pid(self) -> int:
        """Process id of the control process."""
        children = Path(f"/proc/{self.running.pid}/task/{self.running.pid}/children").read_text().split()
        for each in children:
            if b"control-process" in Path(f"/proc/{each}/cmdline").read_bytes():
                return int(each)
        return 0


def until(holds: Callable[[], bool], words: Callable[[], object] = lambda: "") -> None:
    """Wait until something holds."""
    end = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < end, f"in vain: {words()}"
        time.sleep(0.02)


@contextmanager
def serving(
    data: Path, *arguments: str | Path, keys: Credentials | None = None, env: Mapping[str, str] | None = None,
    module: str = "",
) -> Iterator[Server]:  # fmt: skip
    """A server on a data folder, with the scripted Kinesis and moto allowed as endpoints."""
    allowed = {"HEADRACE_CONNECTION_HOSTS": "127.0.0.1,localhost", "HEADRACE_LOG_FORMAT": "json", **(env or {})}
    with background("serve", "--port", "0", *arguments, data=data, env=allowed, module=module) as running:
        yield Server(running, data, keys)


def gone(pid: int) -> bool:
    """Whether a process is no longer there."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return True
    return state == "Z"


class Tutorial:
    """The resources that the tutorial makes, on a server.

    Args:
        server: The server.
        endpoint: URL of a Kinesis.
        stream: Its stream.
    """

    def __init__(self, server: Server, endpoint: str, stream: str) -> None:
        self.server = server
        self.segment = server.made(
            "POST", "/data/core/ups/audiences",
            {"audienceId": "vip", "name": "VIP", "namespace": "CRM", "type": "ExternalAudience"},
        )["id"]  # fmt: skip
        platform = self._make("connections", {"name": "Profiles", "connectionSpec": spec(PROFILES_ID)})
        self.connection = self._make("connections", connection_body(endpoint))
        self.source = self._make(
            "sourceConnections",
            {
                "name": "Profiles", "connectionSpec": spec(PROFILES_ID), "baseConnectionId": platform,
                "data": {"format": "json"}, "params": {},
            },
        )  # fmt: skip
        self.target = self._make(
            "targetConnections",
            {
                "name": "Stream", "connectionSpec": spec(KINESIS_ID), "baseConnectionId": self.connection,
                "data": {"format": "json"}, "params": {"stream": stream},
            },
        )  # fmt: skip
        self.flow = self._make("flows", flow_body(self.source, self.target))

    def _make(self, kind: str, body: Any) -> str:
        return str(self.server.made("POST", f"{FLOWS}/{kind}", body)["id"])

    @property
    def path(self) -> str:
        """Of the flow."""
        return f"{FLOWS}/flows/{self.flow}"

    def map(self, attribute: str = "web.n") -> None:
        """The two patches: an audience, then an attribute."""
        self.server.patch(self.path, map_segment(self.segment))
        self.server.patch(self.path, map_attribute(attribute))


def spec(spec_id: str) -> dict[str, str]:
    """A reference to a spec."""
    return {"id": spec_id, "version": "1.0"}


def connection_body(endpoint: str, **params: Any) -> dict[str, Any]:
    """A base connection of a local Kinesis."""
    return {
        "name": "Account",
        "connectionSpec": spec(KINESIS_ID),
        "auth": {
            "specName": "Aws Kinesis authentication credentials",
            "params": {
                "accessKeyId": "AKIDEXAMPLE", "secretKey": PLANTED, "region": "eu-west-1", "endpointUrl": endpoint,
                **params,
            },
        },
    }  # fmt: skip


def flow_body(source: str, target: str) -> dict[str, Any]:
    """A flow that maps nothing yet."""
    return {
        "name": "To the stream",
        "flowSpec": spec(FLOW_SPEC_ID),
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "transformations": [
            {
                "name": "GeneralTransform",
                "params": {
                    "segmentSelectors": {"selectors": []},
                    "profileSelectors": {"selectors": []},
                },
            }
        ],
    }


def map_segment(segment: str, **fields: Any) -> dict[str, Any]:
    """A patch that maps an audience."""
    value = {"id": segment, "namespace": "CRM", **fields}
    return {
        "op": "add",
        "path": "/transformations/0/params/segmentSelectors/selectors/-",
        "value": {"type": "PLATFORM_SEGMENT", "value": value},
    }


def map_attribute(path: str) -> dict[str, Any]:
    """A patch that maps an attribute."""
    return {
        "op": "add",
        "path": "/transformations/0/params/profileSelectors/selectors/-",
        "value": {"type": "JSON_PATH", "value": {"operator": "EXISTS", "path": path}},
    }


def member(number: int, person: str = "ada", status: str = "realized", namespace: str = "CRM") -> dict[str, Any]:
    """An update of a member of the audience; *number* makes its message one of its own."""
    return {
        "identityMap": {"email": [{"id": f"{person}@example.com", "primary": True}]},
        "web": {"n": number},
        "segmentMembership": {
            namespace: {
                "vip": {
                    "status": status,
                    "lastQualificationTime": f"2026-01-01T{number // 60 % 24:02d}:{number % 60:02d}:00Z",
                }
            }
        },
    }
