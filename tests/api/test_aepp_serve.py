"""The public Python client aepp sends updates to the collection of ``headrace serve``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import serving, until

with warnings.catch_warnings():
    # What it uses of other packages is not ours to mend.
    warnings.simplefilter("ignore")
    import aepp  # type: ignore[import-untyped]
    from aepp import flowservice, ingestion

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def message(person: str) -> dict[str, Any]:
    """An update as Experience Platform takes it."""
    entity = {
        "identityMap": {"Email": [{"id": f"{person}@example.test", "primary": True}]},
        "person": {"name": {"firstName": person}},
    }
    return {"header": {"imsOrgId": "O", "source": {"name": "test"}}, "body": {"xdmEntity": entity}}


def test_updates_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one and many at once, to an inlet that the client made; all of them are applied."""
    with serving(tmp_path / "data") as server:
        keys = server.keys
        aepp.configure(
            org_id=keys.organisation, client_id=keys.client_id, secret=keys.client_secret, scopes="openid",
            tech_id="tech@example.test", sandbox="prod",
        )  # fmt: skip
        monkeypatch.setitem(aepp.config.endpoints, "global", server.api)
        collection = server.collection.removesuffix("/collection")
        monkeypatch.setitem(aepp.config.endpoints["streaming"], "collection", collection)
        monkeypatch.setitem(aepp.config.config_object, "oauthTokenEndpointV2", server.api + "/ims/token/v3")
        inlet = flowservice.FlowService().createConnectionStreaming(name="In", sourceId="in", paramName="in")["id"]
        sender = ingestion.DataIngestion()
        assert sender.streamMessage(inlet, message("ann"), syncValidation=True)["inletId"] == inlet
        answer = sender.streamMessages(inlet, [message("bo"), message("cy")])
        assert len(answer["responses"]) == 2
        until(lambda: "headrace_accepted_total 3" in server.health("/metrics").text, server.running.said)
