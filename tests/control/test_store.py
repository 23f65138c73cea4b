"""The contract of a store, on each of them, each part by its number."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from headrace.control.memory import place
from headrace.control.paging import Order
from headrace.control.resources import Kind, Resource, Scope
from headrace.control.store import AuditEntry, AuditQuery, Query, Store

HERE = Scope("org", "prod")
THERE = Scope("org", "dev")


def flow(number: int, **fields: Any) -> Resource:
    """A record with distinct content."""
    made = Resource(
        kind=Kind.FLOW, id=f"id{number}", scope=HERE, name=f"name{number}", state="enabled", created_ms=1000 + number,
        updated_ms=2000 - number, created_by="a", updated_by="b", created_client="c", updated_client="d",
        etag=f'"e{number}"', body={"name": f"name{number}", "n": [number, None, 2**53 + 1, "é\u0000"]},
        hidden={"secret": "v1.x.y"}, refers=("one", f"own{number}"), unique=f"unique{number}", notes={"seen": number},
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def keep(store: Store, *records: Resource) -> None:
    """Put records in, which all fit."""
    with store.write() as transaction:
        for each in records:
            assert transaction.insert(each)


def entry(number: int, **fields: Any) -> AuditEntry:
    """A line of the audit log."""
    made = AuditEntry(
        at_ms=number, scope=HERE, subject="s", client="c", action="create", kind="flows", resource_id=f"id{number}",
        name="n", before=None, after={"x": [1]},
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def test_a_record_comes_back_as_it_was_kept(store: Store) -> None:
    """Every field survives, and the record belongs to its kind, organisation and sandbox alone."""
    keep(store, flow(1))
    with store.read() as transaction:
        assert transaction.get(Kind.FLOW, HERE, "id1") == flow(1)
        assert transaction.unique(Kind.FLOW, "unique1") == flow(1)
        assert transaction.get(Kind.RUN, HERE, "id1") is None
        assert transaction.get(Kind.FLOW, THERE, "id1") is None
        assert transaction.get(Kind.FLOW, Scope("other", "prod"), "id1") is None
        assert transaction.unique(Kind.RUN, "unique1") is None
        assert transaction.unique(Kind.FLOW, "") is None
        assert transaction.find(Query(kind=Kind.FLOW, scope=THERE)) == []


@pytest.mark.parametrize("text", ["", "\x00", "a\x00b", "\ud800", "'; DROP TABLE records; --", "é" * 300])
def test_ids_that_no_record_has_are_not_found(store: Store, text: str) -> None:
    """Any text may be asked for, also one that a database refuses."""
    keep(store, flow(1))
    with store.read() as transaction:
        assert transaction.get(Kind.FLOW, HERE, text) is None
        assert transaction.unique(Kind.FLOW, text) is None


def test_what_is_kept_is_not_its_makers_any_more(store: Store) -> None:
    """Changing what was handed in changes nothing that is stored; reading twice, by id or in a list, is the same."""
    mine = flow(1)
    keep(store, mine)
    mine.body["n"].append("mine")
    for _ in range(2):
        with store.read() as transaction:
            assert transaction.find(Query(kind=Kind.FLOW, scope=HERE)) == [flow(1)]
            assert transaction.get(Kind.FLOW, HERE, "id1") == flow(1)


def test_lists_of_any_length_are_read(store: Store) -> None:
    """More records than one statement names, new and changed ones among those read before."""
    keep(store, *[flow(number) for number in range(1100)])
    query = Query(kind=Kind.FLOW, scope=HERE)
    with store.read() as reader:
        assert len(reader.find(query)) == 1100
    new = flow(5, etag='"new"', body={"name": "changed"})
    with store.write() as transaction:
        assert transaction.replace(new, '"e5"')
        transaction.note(flow(6), {"seen": "now"})
    with store.read() as reader:
        found = {each.id: each for each in reader.find(query)}
    assert found["id5"] == new
    assert found["id6"] == flow(6, notes={"seen": "now"})
    assert found["id7"] == flow(7)


def test_t1_an_error_undoes_the_whole_transaction(store: Store) -> None:
    """Neither records nor lines of the audit log of a block that failed are kept."""
    keep(store, flow(1))
    with pytest.raises(ZeroDivisionError), store.write() as transaction:  # noqa: PT012
        transaction.insert(flow(2))
        transaction.remove(flow(1))
        transaction.append([entry(1)])
        raise ZeroDivisionError
    with store.read() as transaction:
        assert transaction.find(Query(kind=Kind.FLOW, scope=HERE)) == [flow(1)]
        assert transaction.audit(AuditQuery(org="org")) == []


def test_t2_writers_run_one_after_the_other(store: Store) -> None:
    """Of many threads that each count up what they read, none is lost."""
    keep(store, flow(1, notes={"n": 0}))

    def count_up() -> None:
        for _ in range(5):
            with store.write() as transaction:
                record = transaction.get(Kind.FLOW, HERE, "id1")
                assert record is not None
                transaction.note(record, {"n": record.notes["n"] + 1})

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    with store.read() as transaction:
        record = transaction.get(Kind.FLOW, HERE, "id1")
    assert record is not None
    assert record.notes == {"n": 20}


def test_t3_a_reader_sees_one_moment(store: Store) -> None:
    """What is written while a reading transaction is open does not show in it."""
    keep(store, flow(1))
    with store.read() as reader:
        assert reader.count(Query(kind=Kind.FLOW, scope=HERE)) == 1
        keep(store, flow(2))
        assert reader.count(Query(kind=Kind.FLOW, scope=HERE)) == 1
    with store.read() as reader:
        assert reader.count(Query(kind=Kind.FLOW, scope=HERE)) == 2


def test_t4_of_two_writers_on_one_etag_one_wins(store: Store) -> None:
    """The second replacement, and the removal, under an etag that is gone do nothing."""
    keep(store, flow(1))
    new = flow(1, etag='"new"', name="changed", refers=("other",))
    with store.write() as transaction:
        assert transaction.replace(new, '"e1"')
        assert not transaction.replace(flow(1, etag='"late"'), '"e1"')
        assert not transaction.remove(flow(1))
        assert not transaction.replace(flow(9), '"e9"')
    with store.read() as reader:
        assert reader.get(Kind.FLOW, HERE, "id1") == new
        assert reader.find(Query(kind=Kind.FLOW, scope=HERE, refers=frozenset({"own1"}))) == []
        assert reader.find(Query(kind=Kind.FLOW, scope=HERE, refers=frozenset({"other"}))) == [new]
    with store.write() as transaction:
        assert transaction.remove(new)
        assert not transaction.remove(new)
    with store.read() as reader:
        assert reader.find(Query(kind=Kind.FLOW, scope=HERE, refers=frozenset({"other"}))) == []


def test_ids_and_unique_texts_are_taken_once(store: Store) -> None:
    """A second record of the id in the scope, or of the unique text in any scope, is not kept; none has no limit."""
    keep(store, flow(1), flow(2), flow(3, unique=""), flow(4, unique=""))
    with store.write() as transaction:
        assert not transaction.insert(flow(1, unique="fresh"))
        assert not transaction.insert(flow(5, unique="unique1", scope=THERE))
        assert transaction.insert(flow(1, scope=THERE, unique=""))
        assert transaction.insert(flow(1, kind=Kind.RUN))
        assert not transaction.replace(flow(2, unique="unique1"), '"e2"')
        assert transaction.replace(flow(2, name="own text again"), '"e2"')


def test_notes_leave_the_etag(store: Store) -> None:
    """What was observed is put down without a new version; of a record that is gone it is forgotten."""
    keep(store, flow(1))
    with store.write() as transaction:
        transaction.note(flow(1), {"seen": "now"})
        transaction.note(flow(2), {"seen": "now"})
    with store.read() as transaction:
        assert transaction.find(Query(kind=Kind.FLOW, scope=HERE)) == [flow(1, notes={"seen": "now"})]


NAMES = ["b", "B", "a", "é", "", "z", "Z", "10", "9", "\U0001f600", "\uffff"]


@pytest.mark.parametrize(
    "order",
    [
        (Order("createdAt", descending=True),),
        (Order("name"),),
        (Order("name", descending=True), Order("createdAt")),
        (Order("state"), Order("updatedAt", descending=True)),
        (Order("id", descending=True),),
    ],
    ids=str,
)
def test_an_order_is_whole_and_can_be_gone_through_in_parts(store: Store, order: tuple[Order, ...]) -> None:
    """Texts are ordered by code points, ties by id, and parts of every size put together are the whole."""
    records = [
        flow(n, name=name, created_ms=n // 3, updated_ms=n % 4, state="enabled" if n % 2 else "disabled")
        for n, name in enumerate(NAMES * 2)
    ]
    keep(store, *records)
    expected = sorted(records, key=lambda each: each.id)
    fields = {"createdAt": "created_ms", "updatedAt": "updated_ms"}
    for each in reversed(order):
        field = fields.get(each.field, each.field)
        expected.sort(key=lambda record: getattr(record, field), reverse=each.descending)
    query = Query(kind=Kind.FLOW, scope=HERE, order=order)
    with store.read() as transaction:
        assert [each.id for each in transaction.find(query)] == [each.id for each in expected]
        for size in (1, 4, len(records)):
            found: list[Resource] = []
            after = None
            while part := transaction.find(msgspec.structs.replace(query, limit=size, after=after)):
                assert len(part) <= size
                found += part
                after = place(part[-1], order)
            assert found == expected


def test_queries_narrow(store: Store) -> None:
    """Ids, names and what a record uses each narrow a query, all of them together, and its count."""
    keep(store, flow(1), flow(2), flow(3, refers=()))
    narrowed = [
        ({"ids": frozenset({"id1", "id9"})}, ["id1"]),
        ({"ids": frozenset()}, []),
        ({"names": frozenset({"name2", "name3"})}, ["id3", "id2"]),
        ({"refers": frozenset({"one"})}, ["id2", "id1"]),
        ({"refers": frozenset({"one", "own1"}), "names": frozenset({"name1"})}, ["id1"]),
    ]
    with store.read() as transaction:
        for fields, ids in narrowed:
            query = Query(kind=Kind.FLOW, scope=HERE, limit=50, **fields)  # type: ignore[arg-type]
            assert [each.id for each in transaction.find(query)] == ids, fields
            assert transaction.count(query) == len(ids)


def test_the_audit_log_is_read_back_by_what_it_says(store: Store) -> None:
    """Lines come latest first, each condition narrows them, and parts put together are the whole."""
    lines = [
        entry(1),
        entry(2, subject="t", before={"a": 1}, after=None),
        entry(3, action="delete", kind="runs"),
        entry(4, scope=THERE),
        entry(5, scope=Scope("other", "prod")),
    ]
    with store.write() as transaction:
        transaction.append(lines[:2])
        transaction.append([])
        transaction.append(lines[2:])
    with store.read() as reader:

        def at(**conditions: Any) -> list[int]:
            return [each.at_ms for each in reader.audit(AuditQuery(**{"org": "org", **conditions}))]

        assert at() == [4, 3, 2, 1]
        assert at(sandbox="prod") == [3, 2, 1]
        assert at(org="other") == [5]
        assert at(subject="t") == [2]
        assert at(action="delete") == at(kind="runs") == at(resource_id="id3") == [3]
        assert at(from_ms=2, to_ms=4) == [3, 2]
        whole = reader.audit(AuditQuery(org="org"))
        assert [msgspec.structs.replace(each, sequence=0) for each in reversed(whole)] == lines[:4]
        assert at(limit=3) == [4, 3, 2]
        assert at(before=whole[2].sequence) == [1]
