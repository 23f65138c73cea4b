"""Base, source and target connections: made, read, changed, tested and removed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from headrace.control import base_connections, flows, paging, source_connections, target_connections
from headrace.control.auth import opened
from headrace.control.paging import Listing
from headrace.control.reach import Reach
from headrace.control.resources import MASK, Kind
from headrace.control.store import Store
from headrace.errors import UseCaseError

from .asking import changed, places, refused, replaced, stored
from .plane import (
    ANN,
    KINESIS_ID,
    SECRET,
    connection_body,
    flow_body,
    one_of_each,
    plane,
    platform_body,
    source_body,
)  # fmt: skip

B, S, T = base_connections, source_connections, target_connections


def test_a_connection_is_shown_with_its_common_fields_and_masked_secrets(store: Store) -> None:
    """The item has what Flow Service's has; the stored record holds the secret only sealed."""
    control = plane(store)
    made = B.create_connection(control, ANN, connection_body())
    item = B.get_connection(control, ANN, made.id)
    assert item["etag"] == item["version"] == made.etag
    assert made.etag.startswith('"')
    assert made.etag.endswith('"')
    assert {name: item[name] for name in ("createdBy", "updatedBy", "createdClient", "sandboxName", "state")} == {
        "createdBy": "ann", "updatedBy": "ann", "createdClient": "key", "sandboxName": "prod", "state": "enabled",
    }  # fmt: skip
    assert item["createdAt"] == item["updatedAt"] == control.clock.now_ms()
    assert item["auth"] == {
        "specName": "Aws Kinesis authentication credentials",
        "params": {"accessKeyId": "AKIDEXAMPLE", "secretKey": MASK, "region": "eu-west-1"},
        "authorizedDate": "2026-01-01",
    }
    kept = stored(control, Kind.CONNECTION, made.id)
    assert SECRET not in msgspec.json.encode(kept).decode()
    assert opened(control, kept)["secretKey"].reveal() == SECRET


def test_wrong_connections_are_refused_with_all_places(store: Store) -> None:
    """Codes where Flow Service has one, every place otherwise, and never the secret."""
    control = plane(store)

    def create(**fields: Any) -> Callable[[], Any]:
        body = {name: value for name, value in (connection_body() | fields).items() if value is not ...}
        return lambda: B.create_connection(control, ANN, body)

    unknown_way = {"specName": "Password", "params": {}}
    for call, code in [
        (lambda: B.create_connection(control, ANN, None), "1405-400"),
        (lambda: B.create_connection(control, ANN, {}), "1405-400"),
        (lambda: B.create_connection(control, ANN, []), "3000-400"),
        (create(connectionSpec={"id": KINESIS_ID}), "3001-422"),
        (create(connectionSpec={"id": "none", "version": "1.0"}), "1413-400"),
        (create(connectionSpec={"id": KINESIS_ID, "version": "2.0"}), "3000-400"),
        (create(connectionSpec=...), "3000-400"),
        (create(connectionSpec={"id": 1, "version": "1.0"}), "1413-400"),
        (create(auth=unknown_way), "1415-400"),
        (create(auth=...), "3000-400"),
        (
            create(auth={"specName": "Aws Kinesis authentication credentials", "params": {"secretKey": MASK}}),
            "3008-400",
        ),
        (create(color="red"), "3000-400"),
        (create(name=...), "3000-400"),
        (create(name="a\x00"), "3000-400"),
    ]:
        error = refused(call)
        assert error.error_code == code
        assert SECRET not in str(error)
    auth = {"specName": "Aws Kinesis authentication credentials", "params": {"region": "x", "extra": 1}}
    several = create(name=1, auth=auth)
    assert places(several) == [
        "name",
        "auth.params.extra",
        "auth.params.accessKeyId",
        "auth.params.secretKey",
        "auth.params.region",
    ]
    assert B.list_connections(control, ANN, Listing()).items == []


def test_an_answer_can_be_sent_back(store: Store) -> None:
    """Read-only members of an answer are dropped from a new connection."""
    control = plane(store)
    item = B.get_connection(control, ANN, B.create_connection(control, ANN, platform_body()).id)
    copy = B.get_connection(control, ANN, B.create_connection(control, ANN, item).id)
    assert copy["id"] != item["id"]
    assert copy["name"] == item["name"]


def test_a_secret_is_kept_by_its_mask_and_replaced_by_another(store: Store) -> None:
    """Sending the mask back keeps the secret; a new one takes its place; leaving it out is a mistake."""
    control = plane(store)
    made = B.create_connection(control, ANN, connection_body(sessionToken="token1"))
    changed(control, made.id, replaced("/name", "New"), replaced("/auth/params/region", "eu-west-2"))
    now = stored(control, Kind.CONNECTION, made.id)
    assert {name: each.reveal() for name, each in opened(control, now).items()} == {
        "secretKey": SECRET, "sessionToken": "token1",
    }  # fmt: skip
    params = {"accessKeyId": "AK2", "secretKey": "second", "region": "eu-west-2"}
    changed(control, made.id, replaced("/auth/params", params))
    now = stored(control, Kind.CONNECTION, made.id)
    assert {name: each.reveal() for name, each in opened(control, now).items()} == {"secretKey": "second"}
    assert B.get_connection(control, ANN, made.id)["auth"]["params"] == params | {"secretKey": MASK}
    assert places(lambda: changed(control, made.id, {"op": "remove", "path": "/auth/params/secretKey"})) == [
        "auth.params.secretKey"
    ]
    error = refused(
        lambda: changed(control, made.id, {"op": "add", "path": "/auth/params/sessionToken", "value": MASK})
    )
    assert error.error_code == "3008-400"


def test_a_kept_secret_does_not_go_elsewhere(store: Store) -> None:
    """Who changes where a connection goes must give the secret again."""
    control = plane(store)
    made = B.create_connection(control, ANN, connection_body())
    url = {"op": "add", "path": "/auth/params/endpointUrl", "value": "https://localhost:4566"}
    assert refused(lambda: changed(control, made.id, url)).error_code == "3008-400"
    changed(control, made.id, url, replaced("/auth/params/secretKey", SECRET))
    assert B.get_connection(control, ANN, made.id)["auth"]["params"]["endpointUrl"] == "https://localhost:4566"


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254", "https://10.0.0.1:8443", "https://internal.example.com", "https://[::1]",
        "https://localhost.example.com", "https://2130706433",
    ],
)  # fmt: skip
def test_addresses_are_those_that_the_settings_allow(url: str) -> None:
    """The API reaches no host of the network that was not named."""
    control = plane()
    error = refused(lambda: B.create_connection(control, ANN, connection_body(endpointUrl=url)))
    assert (error.error_code, [each.place for each in error.mistakes]) == ("3007-403", ["auth.params.endpointUrl"])


def test_hosts_are_named_by_labels() -> None:
    """A star stands for one label."""
    reach = Reach(hosts=("*.kinesis.eu-west-1.vpce.amazonaws.com", "Localhost"))
    assert reach.allows("vpce-1-2.kinesis.eu-west-1.vpce.amazonaws.com")
    assert reach.allows("localhost")
    assert not reach.allows("a.b.kinesis.eu-west-1.vpce.amazonaws.com")
    assert not reach.allows("xlocalhost")
    assert not Reach().allows("")


@pytest.mark.parametrize(
    ("way", "params"),
    [
        ("Aws Kinesis ambient credentials", {}),
        ("Aws Kinesis ambient credentials", {"profile": "admin", "source": "profile"}),
        ("Aws Kinesis assumed role", {"roleArn": "arn:aws:iam::123456789012:role/writer"}),
        ("Aws Kinesis web identity", {"roleArn": "arn:aws:iam::123456789012:role/writer", "tokenFile": "/x"}),
        ("Aws Kinesis authentication credentials", {"accessKeyId": "a", "secretKey": "b", "caFile": "/etc/hosts"}),
    ],
)
def test_the_machines_own_account_needs_a_setting(way: str, params: dict[str, Any]) -> None:
    """Through the API nobody writes with the machine's credentials, or reads its files, unless that is allowed."""
    body = connection_body() | {"auth": {"specName": way, "params": {"region": "eu-west-1", **params}}}
    refusal = refused(lambda: B.create_connection(plane(), ANN, body))
    assert refusal.error_code in ("3007-403", "3000-400")
    assert refusal.error_code == "3007-403" or "caFile" in params


def test_the_machines_own_account_is_used_when_allowed() -> None:
    """With the setting the same connection is made."""
    control = plane(reach=Reach(machine=True))
    body = connection_body() | {
        "auth": {"specName": "Aws Kinesis ambient credentials", "params": {"region": "eu-west-1"}}
    }
    assert B.create_connection(control, ANN, body).id


def test_states_of_a_connection(store: Store) -> None:
    """A patch enables and disables; other states and the spec do not change; initializing is not gone back to."""
    control = plane(store)
    made = B.create_connection(control, ANN, platform_body())
    changed(control, made.id, replaced("/state", "disabled"))
    assert B.get_connection(control, ANN, made.id)["state"] == "disabled"
    for operation, code in [
        (replaced("/state", "delete-finalizing"), "1456-400"),
        (replaced("/state", None), "1456-400"),
        ({"op": "remove", "path": "/state"}, "1456-400"),
        (replaced("/state", "initializing"), "1422-400"),
        (replaced("/connectionSpec", {"id": KINESIS_ID, "version": "1.0"}), "1414-400"),
        ({"op": "add", "path": "/createdAt", "value": 1}, "3000-400"),
        (replaced("/id", "x"), "1455-400"),
    ]:
        assert refused(partial(changed, control, made.id, operation)).error_code == code
    changed(control, made.id, replaced("/state", "enabled"))
    with control.store.write() as transaction:
        record = transaction.get(Kind.CONNECTION, ANN.scope, made.id)
        assert record is not None
        transaction.replace(msgspec.structs.replace(record, state="deleting"), record.etag)
    assert refused(lambda: changed(control, made.id, replaced("/name", "x"))).error_code == "1416-400"
    assert refused(lambda: B.delete_connection(control, ANN, made.id)).error_code == "1416-400"


def test_a_change_needs_the_current_version(store: Store) -> None:
    """Missing, unquoted and old etags are refused; lenient control planes take the unquoted one."""
    control = plane(store)
    made = B.create_connection(control, ANN, platform_body())
    patch = [replaced("/name", "New")]
    for if_match, code in [(None, "1403-400"), (made.etag.strip('"'), "1404-412"), ('"old"', "1404-412")]:
        call = lambda if_match=if_match: B.patch_connection(control, ANN, made.id, patch, if_match)  # noqa: E731
        assert refused(call).error_code == code
    assert refused(lambda: B.delete_connection(control, ANN, made.id, '"old"')).error_code == "1404-412"
    lenient = msgspec.structs.replace(control, strict_if_match=False)
    new = B.patch_connection(lenient, ANN, made.id, patch, made.etag.strip('"'))
    assert new.etag != made.etag
    assert B.get_connection(control, ANN, made.id)["etag"] == new.etag


def test_of_two_writers_on_one_etag_one_wins(store: Store) -> None:
    """Whatever their order, one gets 412, and the other's change is what is there."""
    control = plane(store)
    made = B.create_connection(control, ANN, platform_body())
    outcomes: dict[str, str] = {}

    def write(name: str) -> None:
        try:
            B.patch_connection(control, ANN, made.id, [replaced("/name", name)], made.etag)
            outcomes[name] = "written"
        except UseCaseError as error:
            outcomes[name] = error.error_code

    threads = [threading.Thread(target=write, args=(f"n{number}",)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    winners = [name for name, outcome in outcomes.items() if outcome == "written"]
    assert sorted(outcomes.values()) == ["1404-412"] * 5 + ["written"]
    assert B.get_connection(control, ANN, made.id)["name"] == winners[0]


def test_lists_are_filtered_ordered_counted_and_gone_through(store: Store) -> None:
    """Parts put together are the whole, under filters that the store knows and that it does not."""
    control = plane(store)
    for number in range(7):
        body = platform_body() | {"name": f"n{number % 3}", "description": "even" if number % 2 == 0 else "odd"}
        B.create_connection(control, ANN, body)
    for properties, expected in [((), 7), (("description==even",), 4), (("name==n0,n1", "description==even"), 3)]:
        listing = Listing(limit=2, properties=properties)
        names: list[str] = []
        page = B.list_connections(control, ANN, listing)
        names += [each["id"] for each in page.items]
        while page.token:
            following = paging.read(token=page.token)
            page = B.list_connections(control, ANN, following)
            names += [each["id"] for each in page.items]
        assert len(names) == len(set(names)) == expected
        assert B.list_connections(control, ANN, Listing(count=True, properties=properties)).count == expected
    found = B.search_connections(control, ANN, {"queryString": "name==n2", "orderby": "-name", "limit": 5})
    assert {each["name"] for each in found.items} == {"n2"}
    assert refused(lambda: B.search_connections(control, ANN, None)).error_code == "1405-400"


def test_a_file_that_rules_refuses_every_change(store: Store) -> None:
    """Reading goes on; writing answers that the file is to be changed."""
    control = plane(store)
    made = one_of_each(control)
    ruled = msgspec.structs.replace(control, read_only=True)
    assert refused(lambda: B.create_connection(ruled, ANN, platform_body())).error_code == "3006-409"
    assert refused(lambda: flows.delete_flow(ruled, ANN, made.flow)).error_code == "3006-409"
    assert B.get_connection(ruled, ANN, made.connection)["id"] == made.connection


def test_a_change_is_told_after_it_is_stored(store: Store) -> None:
    """Whoever publishes hears of each change of what is published, never of a refused one."""
    told: list[Any] = []
    control = plane(store, changed=told.append)
    made = one_of_each(control)
    count = len(told)
    assert count == 6
    assert set(told) == {ANN.scope}
    refused(lambda: flows.create_flow(control, ANN, flow_body(made.source, made.target, "none")))
    B.get_connection(control, ANN, made.connection)
    assert len(told) == count


def test_null_counts_as_absent_in_what_a_flow_has_of_ends(store: Store) -> None:
    """When it is made and when it is patched: an answer holds what its schema says, or nothing."""
    control = plane(store)
    made = one_of_each(control)
    empty = {"description": None, "data": {"format": None}, "params": None}
    source = source_connections.create_source_connection(control, ANN, source_body(made.platform) | empty).id
    shown = source_connections.get_source_connection(control, ANN, source)
    assert (shown["data"], "description" in shown, "params" in shown) == ({}, False, False)
    target = target_connections.get_target_connection(control, ANN, made.target)
    operations = [{"op": "add", "path": f"/{name}", "value": None} for name in ("description", "data")]
    target_connections.patch_target_connection(control, ANN, made.target, operations, target["etag"])
    after = target_connections.get_target_connection(control, ANN, made.target)
    assert {"description", "data"} & after.keys() == set()
