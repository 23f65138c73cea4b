"""What the HTTP face adds: lists with links, one error body, races on an etag, bounds, the engine's absence."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from headrace.api.limits import Limits, Rate
from headrace.clock import Manual
from headrace.control import flows
from tests.control.plane import ANN, SECRET, connection_body, flow_body, segment_body, selector, target_body

from .client import BASE, TOKEN, Client, form
from .serving import served
from .test_operations import code, conforms
from .world import UNBOUNDED, World, world

PROBLEM = {"$ref": "#/components/schemas/Problem"}
RENAME = [{"op": "replace", "path": "/name", "value": "New"}]
SELECTORS = "/transformations/0/params/segmentSelectors/selectors"


def test_links_lead_through_a_whole_list(stored: World) -> None:
    """Each part says where the next one is, by a token alone; the last one says nothing."""
    for number in range(6):
        flows.create_flow(
            stored.control, ANN, {**flow_body(stored.made.source, stored.made.target), "name": f"F{number}"}
        )
    path, names = "/flows?limit=3&orderby=name", []
    while path:
        body = stored.client.get(BASE + path).json()
        names += [each["name"] for each in body["items"]]
        path = body["_links"].get("next", {}).get("href", "")
        assert path.count("=") <= 1 or path.startswith("/flows?limit")
    assert names == ["F0", "F1", "F2", "F3", "F4", "F5", "Flow"]
    assert stored.client.get(f"{BASE}/flows?count=true").json() == {"count": 7}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", "1451-400"), ("limit=101", "1451-400"), ("limit=x", "1451-400"), ("nope=1", "1451-400"),
        ("limit=1&count=true", "1401-400"), ("count=maybe", "1451-400"), ("orderby=*", "1432-400"),
        ("orderby=owner", "1433-400"), ("property=name", "1450-400"), ("property=name==", "1453-400"),
        ("property=createdAt>=x", "1452-400"), ("property=name>=a,b", "1443-400"),
        ("property=id>a", "1448-400"), ("property=a b==1", "1449-400"), ("property=name~a", "1440-400"),
        ("continuationToken=AAAA", "1451-400"), ("limit=%00", "1452-400"),
    ],
)  # fmt: skip
def test_wrong_list_parameters_are_refused_by_their_codes(w: World, query: str, expected: str) -> None:
    """Each with a sentence, in the one error body."""
    answer = w.client.get(f"{BASE}/flows?{query}")
    conforms(answer, PROBLEM)
    assert code(answer) == expected, answer.text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "1405-400"), (b"{}", "1405-400"), (b"null", "1405-400"), (b"{", "3018-400"), (b"[]", "3000-400"),
        (b'{"name":"\\u0000"}', "3018-400"), (b'{"name":"\\ud800"}', "3018-400"), (b"\xff", "3018-400"),
        (b'{"name":' * 70 + b"1" + b"}" * 70, "3018-400"), (b"[" * 200_000, "3018-400"), (b"NaN", "3018-400"),
        (b'{"name":1e999}', "3018-400"), (b'"text"', "3000-400"), (b'{"a":1}{"b":2}', "3018-400"),
        (b'{"name":"n","connectionSpec":{"id":"86043421-563b-46ec-8e6c-e23184711bf6"}}', "3001-422"),
        (b'{"name":"n","connectionSpec":{"id":"x","version":"1.0"}}', "1413-400"),
    ],
)  # fmt: skip
def test_wrong_bodies_are_refused_by_their_codes(stored: World, body: bytes, expected: str) -> None:
    """Never a 5xx, whatever is sent, on every store."""
    answer = stored.client.request("POST", f"{BASE}/connections", content=body)
    assert code(answer) == expected, answer.text
    conforms(answer, PROBLEM)


def test_every_mistake_is_answered_at_once(w: World) -> None:
    """With its place and what is allowed."""
    body = flow_body(w.made.source, w.made.target, "unknown", paths=["a..b"])
    answer = w.client.post(f"{BASE}/flows", body)
    assert code(answer) == "3000-400"
    places = [each["place"] for each in answer.json()["mistakes"]]
    assert any("segmentSelectors" in each for each in places)
    assert any("profileSelectors" in each for each in places)
    assert answer.json()["errorDetails"].startswith(places[0])
    whole = w.client.request("POST", f"{BASE}/flows", content=b"[1]").json()
    assert whole["message"] == "body: must be an object, not a list"


def test_paths_and_methods_that_are_not_there(w: World) -> None:
    """The framework's own answers have the one error body too."""
    for method, path, expected in (("GET", "/nope", "3011-404"), ("PUT", f"{BASE}/flows", "3012-405")):
        answer = w.client.request(method, path)
        assert code(answer) == expected
        conforms(answer, PROBLEM)
        assert answer.headers["x-request-id"] == answer.json()["requestId"]
    assert "POST" in w.client.request("PUT", f"{BASE}/flows").headers["allow"]


def test_a_change_needs_the_etag_in_its_quotes(w: World) -> None:
    """Without one 1403-400; with an old one, or without its quotes, 1404-412; the answer's etag is the next one."""
    path = f"{BASE}/flows/{w.made.flow}"
    etag = w.client.item(f"/flows/{w.made.flow}")["etag"]
    assert code(w.client.patch(path, RENAME)) == "1403-400"
    assert code(w.client.patch(path, RENAME, etag.strip('"'))) == "1404-412"
    changed = w.client.patch(path, RENAME, etag)
    assert (changed.status_code, changed.json()["id"]) == (200, w.made.flow)
    assert code(w.client.patch(path, RENAME, etag)) == "1404-412"
    assert w.client.patch(path, RENAME, changed.json()["etag"]).status_code == 200
    assert code(w.client.delete(path, headers={"if-match": etag})) == "1404-412"


def test_of_two_writers_on_one_etag_one_wins(stored: World) -> None:
    """The other one gets 412, over real sockets, on every store, as often as they try."""
    path = f"{BASE}/flows/{stored.made.flow}"
    with served(stored.app) as url, httpx.Client(base_url=url, headers=stored.client.headers, timeout=30) as client:
        for number in range(8):
            etag = client.get(path).json()["items"][0]["etag"]
            answers: list[int] = []
            together = threading.Barrier(2)

            def write(
                name: str, etag: str = etag, together: threading.Barrier = together, answers: Any = answers
            ) -> None:
                patch = [{"op": "replace", "path": "/name", "value": name}]
                together.wait(10)
                answers.append(client.patch(path, json=patch, headers={"if-match": etag}).status_code)

            writers = [threading.Thread(target=write, args=(f"{number}-{each}",)) for each in range(2)]
            for each in writers:
                each.start()
            for each in writers:
                each.join(30)
            assert sorted(answers) == [200, 412]


def test_adding_an_audience_begins_its_backfill(w: World) -> None:
    """Only of what was added; what cannot be begun is said, and the change stands."""
    second = w.client.post("/data/core/ups/segment/definitions", segment_body("Second")).json()["id"]
    third = w.client.post("/data/core/ups/segment/definitions", segment_body("Third")).json()["id"]
    path = f"{BASE}/flows/{w.made.flow}"

    def add(segment: str) -> Any:
        etag = w.client.item(f"/flows/{w.made.flow}")["etag"]
        patch = [{"op": "add", "path": f"{SELECTORS}/-", "value": selector(segment)}]
        return w.client.patch(path, patch, etag).json()

    made = add(second)
    assert w.engine.backfills[made["backfills"][0]["run"]]["segments"] == [second]
    w.engine.absent = True
    made = add(third)
    assert "backfills" not in made
    assert third in made["warnings"][0]
    mapped = w.client.item(f"/flows/{w.made.flow}")["transformations"][0]["params"]["segmentSelectors"]["selectors"]
    assert [each["value"]["id"] for each in mapped] == [w.made.segment, second, third]


def test_without_an_engine_503_says_what_to_do(w: World) -> None:
    """Only of what needs it: the rest works on."""
    w.engine.absent = True
    answer = w.client.get(f"/headrace/flows/{w.made.flow}/backfills")
    assert (code(answer), answer.headers["retry-after"]) == ("3016-503", "5")
    assert "headrace serve" in answer.json()["message"]
    assert w.client.get(f"{BASE}/flows").status_code == 200


def test_what_the_engine_refuses_is_the_callers_to_mend(w: World) -> None:
    """Its words reach the caller; what names nothing of the flow is refused before it is asked."""
    path = f"/headrace/flows/{w.made.flow}/backfills"
    answer = w.client.post(path, {"rate": 13})
    assert (code(answer), "mend its destination" in answer.json()["message"]) == ("3017-400", True)
    answer = w.client.post(
        path, {"segments": ["nope"], "identities": [{"namespace": "email"}], "rate": 0, "kind": "x"}
    )
    assert [each["place"] for each in answer.json()["mistakes"]] == [
        "kind", "segments[0]", "identities[0].id", "rate",
    ]  # fmt: skip
    some = {"identities": [{"namespace": "email", "id": "ann@example.test"}], "kind": "resend", "rate": 5}
    run = w.client.post(path, some).json()["run"]
    assert (w.engine.backfills[run]["identities"], w.engine.backfills[run]["rate"]) == (["email:ann@example.test"], 5)
    assert code(w.client.post(f"{path}/{w.backfill}/stop")) == "1422-400"
    assert code(w.client.get(f"{path}/nope")) == "1101-404"


def test_an_adhoc_run_sends_each_audience_again(w: World) -> None:
    """All is checked first; each run can be looked up where the answer says."""
    path = "/data/core/activation/disflowprovider/adhocrun"
    wrong_bodies: list[Any] = [{}, {"activationInfo": {}}, {"activationInfo": {w.made.flow: ["nope"]}}]
    for wrong in (*wrong_bodies, {"activationInfo": 1}):
        assert w.client.post(path, wrong).status_code == 400
    assert list(w.engine.backfills) == [w.backfill]
    (order,) = w.client.post(path, {"activationInfo": {w.made.flow: [w.made.segment]}}).json()["order"]
    found = w.client.get(order["statusURL"].removeprefix("http://api.test")).json()
    assert (found["kind"], found["segments"], order["order"]) == ("resend", [w.made.segment], w.made.flow)


def test_what_the_engine_was_told_is_in_the_audit_log(w: World) -> None:
    """With who told it, and without a profile's values."""
    w.client.post(f"/headrace/flows/{w.made.flow}/backfills", {})
    w.client.delete("/data/core/ups/access/entities?entityId=ann@example.test&entityIdNS=email")
    answer = w.client.get("/headrace/audit?limit=2")
    assert [(each["action"], each["subject"]) for each in answer.json()["items"]] == [
        ("delete", w.first.client.id), ("start-backfill", w.first.client.id),
    ]  # fmt: skip
    assert "ann@example" not in w.client.get("/headrace/audit").text
    rest = w.client.get(f"/headrace/audit?before={answer.json()['before']}").json()["items"]
    assert rest[0]["id"] < answer.json()["items"][-1]["id"]


def test_a_profile_can_be_shown_in_part(w: World) -> None:
    """By paths; a profile that is not there is 404, a request without an identity 400."""
    path = "/data/core/ups/access/entities?entityIdNS=email"
    answer = w.client.get(f"{path}&entityId=ann@example.test&fields=person.name.lastName,loyalty.nope")
    assert answer.json()["p-1"]["entity"] == {"person": {"name": {"lastName": "Roe"}}}
    assert code(w.client.get(f"{path}&entityId=bob@example.test")) == "1101-404"
    assert code(w.client.get(path)) == "1451-400"
    assert code(w.client.get(f"{path}&entityId=a&schema.name=_xdm.context.experienceevent")) == "1451-400"


def test_a_connection_is_tried_once_it_was_made_or_changed(w: World) -> None:
    """Its verdicts stand in the base connection, and a picker lists its streams."""
    base = w.client.post(f"{BASE}/connections", MEMORY).json()["id"]
    assert w.client.item(f"/connections/{base}")["headrace"]["check"]["result"] is True
    spec = {"id": MEMORY["connectionSpec"]["id"], "version": "1.0"}
    body = {"name": "T", "baseConnectionId": base, "connectionSpec": spec, "params": {"stream": "leads"}}
    made = w.client.post(f"{BASE}/targetConnections", body).json()
    check = w.client.item(f"/connections/{base}")["headrace"]["check"]
    assert (check["result"], check["targets"][0]["id"]) == (True, made["id"])
    assert check["targets"][0]["permissions"][0]["verdict"] == "allowed"
    assert w.client.delete(f"{BASE}/targetConnections/{made['id']}").status_code == 202
    assert w.client.item(f"/connections/{base}")["headrace"]["check"]["targets"] == [], "of one that is gone"
    assert w.client.get(f"/headrace/connections/{base}/streams").json()["complete"] is True
    assert "problem" in w.client.get(f"/headrace/connections/{w.made.platform}/streams").json()


MEMORY: dict[str, Any] = {
    "name": "M",
    "connectionSpec": {"id": "5c0a5e35-7f0e-4d41-9d1c-8f6d0b8f2a11", "version": "1.0"},
}


def test_sign_in(w: World) -> None:
    """A form with both; what is wrong is said as RFC 6749 says it, and failures are braked."""
    client = Client(w.app)
    right = form(w.first.client.id, w.first.client.secret.reveal())
    answer = client.post(TOKEN, data=right)
    assert (answer.json()["token_type"], answer.headers["cache-control"]) == ("bearer", "no-store")
    for wrong, expected, oauth in (
        ({**right, "grant_type": "password"}, "1452-400", "invalid_request"),
        ({**right, "client_id": ""}, "1452-400", "invalid_request"),
        ({**right, "client_secret": "x"}, "3004-401", "invalid_client"),
        ({**right, "client_id": "x\x00"}, "3004-401", "invalid_client"),
    ):
        answer = client.post(TOKEN, data=wrong)
        assert (code(answer), answer.json()["error"]) == (expected, oauth)
    assert code(client.request("POST", TOKEN, content=b"\xff=%ff&&;")) in ("3018-400", "1452-400")
    for _ in range(5):
        client.post(TOKEN, data={**right, "client_secret": "x"})
    answer = client.post(TOKEN, data=right)
    assert code(answer) == "3005-429"
    assert int(answer.headers["retry-after"]) > 0


def test_requests_are_bounded_in_size() -> None:
    """By what they say of themselves, and by what comes; a right one of the largest size passes."""
    bounded = Limits(body_bytes=2000, requests_per_s=0, sign_ins_per_s=0)
    w = world(limits=bounded)
    body = b'{"name":"' + b"n" * 3000 + b'"}'
    assert code(w.client.request("POST", f"{BASE}/connections", content=body)) == "3013-413"

    async def chunks() -> Any:
        for at in range(0, len(body), 500):
            yield body[at : at + 500]

    answer = w.client.request("POST", f"{BASE}/connections", content=chunks())
    assert (code(answer), answer.headers["connection"]) == ("3013-413", "close")
    assert w.client.post(f"{BASE}/connections", connection_body()).status_code == 201


def test_requests_are_bounded_in_time() -> None:
    """A body that does not end is refused once its time is over."""
    w = world(limits=Limits(body_timeout_s=0.05, requests_per_s=0, sign_ins_per_s=0))

    async def endless() -> Any:
        yield b'{"name"'
        await asyncio.sleep(30)
        yield b":1}"

    answer = w.client.request("POST", f"{BASE}/connections", content=endless())
    assert (code(answer), answer.headers["connection"]) == ("3014-408", "close")


def test_requests_are_bounded_in_rate() -> None:
    """For each address; the wait is said, and once it is over requests pass again."""
    clock = Manual()
    w = world(clock=clock, limits=Limits(requests_per_s=1, burst=5, sign_ins_per_s=0))
    codes = [w.client.get("/healthz").status_code for _ in range(6)]
    assert codes == [200] * 4 + [429] * 2  # signing in took one
    assert w.client.get("/healthz").headers["retry-after"] == "1"
    assert Client(w.app, address="192.0.2.2").get("/healthz").status_code == 200
    clock.advance(2)
    assert [w.client.get("/healthz").status_code for _ in range(3)] == [200, 200, 429]


def test_sign_ins_have_a_rate_of_their_own() -> None:
    """They cost far more than anything else."""
    w = world(limits=Limits(sign_ins_per_s=1, sign_in_burst=2))
    right = form(w.first.client.id, w.first.client.secret.reveal())
    assert [w.client.post(TOKEN, data=right).status_code for _ in range(2)] == [200, 429]
    assert w.client.get("/healthz").status_code == 200


def test_a_rate_forgets_the_longest_unused() -> None:
    """So that its memory is bounded."""
    rate = Rate(Manual(), 1, 1, names=2)
    assert [rate.take(name) for name in "abc"] == [0, 0, 0]
    assert rate.take("a") == 0  # was forgotten
    assert rate.take("c") == 1


def test_a_mistake_of_ours_tells_nothing(w: World, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """500 with an id under which the log says where it was, without the error's own words."""

    def broken(*_: Any) -> Any:
        raise ValueError(f"near {SECRET}")

    monkeypatch.setattr("headrace.control.flows.list_flows", broken)
    answer = w.client.get(f"{BASE}/flows")
    assert code(answer) == "3019-500"
    logged = capsys.readouterr()
    assert answer.json()["requestId"] in logged.out + logged.err
    assert SECRET not in answer.text + logged.out + logged.err


def test_a_target_is_checked_against_its_account(w: World) -> None:
    """A body that is wrong for its destination is refused with its places."""
    answer = w.client.post(f"{BASE}/targetConnections", target_body(w.made.connection, region="us-east-1"))
    assert [each["place"] for each in answer.json()["mistakes"]] == ["params.region"]


def test_bounds_are_off_when_they_are_0() -> None:
    """As the suites of this room have it."""
    rate = Rate(Manual(), UNBOUNDED.requests_per_s, 1)
    assert {rate.take("a") for _ in range(100)} == {0.0}
