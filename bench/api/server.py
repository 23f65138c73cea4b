"""The child of the benchmark: the API on SQLite with a sandbox of 100 flows, served by uvicorn on a free port.

Prints one line of JSON: port, and the headers of a client that may read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from headrace.api.app import create_app
from headrace.api.limits import Limits
from headrace.bootstrap.control_process import tune_collector
from headrace.clock import System
from headrace.control import (
    base_connections,
    flows,
    organisations,
    segments,
    sessions,
    source_connections,
    target_connections,
)
from headrace.control.access import Caller
from headrace.control.catalog import PROFILE_SERVICE_ID, Catalog
from headrace.control.secrets import Sealer
from headrace.control.service import Control
from headrace.control.sign_in import FailedSignIns, Passwords, Tokens
from headrace.control.tables import TablesStore
from headrace.core.compile import FLOW_SPEC_ID
from headrace.destinations.registry import destinations
from headrace.errors import StateError

KINESIS_ID = "86043421-563b-46ec-8e6c-e23184711bf6"
FLOWS, AUDIENCES, ATTRIBUTES = 100, 3, 5
ORG = "BENCH@HeadraceOrg"


class Absent:
    """No engine: nothing here asks it."""

    def ask(self, request: str, **arguments: Any) -> Any:
        raise StateError(f"nobody answers {request} {arguments}")

    def follow(self, **arguments: Any) -> Any:
        raise StateError(f"nobody follows {arguments}")


def plane(path: Path) -> Control:
    clock, sealer = System(), Sealer([bytes(32)])
    return Control(
        store=TablesStore(f"sqlite:///{path}"),
        catalog=Catalog({each.spec.id: each.spec for each in destinations().values()}),
        destinations=destinations(),
        sealer=sealer,
        tokens=Tokens(sealer.derive("tokens"), clock),
        passwords=Passwords(),
        sign_ins=FailedSignIns(clock),
        clock=clock,
    )


def fill(control: Control, by: Caller) -> None:
    """100 flows of three audiences and five attributes each, with an account for ten."""
    profiles = {"name": "Profiles", "connectionSpec": {"id": PROFILE_SERVICE_ID, "version": "1.0"}}
    platform = base_connections.create_connection(control, by, profiles).id
    source_body = {**profiles, "baseConnectionId": platform, "data": {"format": "json"}, "params": {}}
    source = source_connections.create_source_connection(control, by, source_body).id
    ids = []
    for number in range(20):
        body = {
            "name": f"Audience {number}",
            "description": "People who bought often",
            "schema": {"name": "_xdm.context.profile"},
            "expression": {"type": "PQL", "format": "pql/text", "value": 'loyalty.tier = "gold"'},
        }
        ids.append(segments.create_segment(control, by, body)["id"])
    spec = {"id": KINESIS_ID, "version": "1.0"}
    base = ""
    for number in range(FLOWS):
        if number % 10 == 0:
            params = {"accessKeyId": f"AK{number}", "secretKey": "s" * 40, "region": "eu-west-1"}
            auth = {"specName": "Aws Kinesis authentication credentials", "params": params}
            account = {"name": f"Account {number}", "connectionSpec": spec, "auth": auth}
            base = base_connections.create_connection(control, by, account).id
        target_body = {
            "name": f"Target {number}", "baseConnectionId": base, "connectionSpec": spec,
            "data": {"format": "json"}, "params": {"stream": f"stream-{number}", "region": "eu-west-1"},
        }  # fmt: skip
        target = target_connections.create_target_connection(control, by, target_body).id
        flows.create_flow(control, by, flow_body(number, source, target, ids))


def flow_body(number: int, source: str, target: str, ids: list[str]) -> dict[str, Any]:
    chosen = [ids[(number + each) % len(ids)] for each in range(AUDIENCES)]
    mapped = [{"type": "PLATFORM_SEGMENT", "value": {"id": each, "name": "n"}} for each in chosen]
    paths = [
        {"type": "JSON_PATH", "value": {"operator": "EXISTS", "path": f"person.a{n}"}} for n in range(ATTRIBUTES)
    ]
    params = {"segmentSelectors": {"selectors": mapped}, "profileSelectors": {"selectors": paths}}
    return {
        "name": f"Flow {number:03}",
        "description": "Gold buyers for the loyalty team",
        "flowSpec": {"id": FLOW_SPEC_ID, "version": "1.0"},
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "transformations": [{"name": "GeneralTransform", "params": params}],
    }


def main() -> None:
    control = plane(Path(sys.argv[1]) / "control.db")
    first = organisations.first_start(control, org=ORG)
    assert first is not None
    fill(control, organisations.system_caller(control))
    token = sessions.sign_in_client(control, first.client.id, first.client.secret)
    headers = {
        "authorization": f"Bearer {token.text.reveal()}",
        "x-api-key": first.client.id,
        "x-gw-ims-org-id": ORG,
        "x-sandbox-name": "prod",
    }
    app = create_app(control, Absent(), limits=Limits(requests_per_s=0))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    socket.listen(128)
    line = {"port": socket.getsockname()[1], "headers": headers}
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
    tune_collector()  # as the control process does
    server.run(sockets=[socket])


if __name__ == "__main__":
    main()
