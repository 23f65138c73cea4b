"""Sums of runs: the same on every store, those of the runs that are there, and of older databases too."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from headrace.clock import Manual
from headrace.control import flows, hourly, run_figures, runs
from headrace.control.access import Permission
from headrace.control.memory import MemoryStore
from headrace.control.overlay import OverlayStore
from headrace.control.resources import Kind
from headrace.control.run_figures import HOUR_MS, STEPS_MS, Reason, RunFigures, RunSums, SumsQuery
from headrace.control.runs import Count, Figures
from headrace.control.service import Control
from headrace.control.store import Query, Store
from headrace.control.tables import TablesStore
from headrace.errors import UseCaseError
from tests.postgres import new_database

from .plane import ANN, SCOPE, START_MS, Made, caller, flow_body, one_of_each, plane

DAY_MS = 24 * HOUR_MS
NOW_MS = START_MS + 30 * DAY_MS


def figures(seed: int) -> Figures:
    """Figures that differ from hour to hour; some without latency, some with reasons."""
    received = random.Random(seed).randrange(1000)
    timed = seed % 3 > 0
    return Figures(
        received=received, delivered=received // 2, failed=seed % 4, skipped=received // 3, output_bytes=received * 7,
        average_ms=20 + seed % 9 if timed else None, greatest_ms=100 + seed % 50 if timed else None,
        failures=(Count(code="too-large", message="Too large.", count=seed % 4),) if seed % 4 else (),
        skips=(Count(code=f"held-{seed % 2}", message="Held.", count=received // 3),), completed=True,
    )  # fmt: skip


def month(store: Store) -> tuple[Control, Made, list[str]]:
    """Two flows that ran every other hour for a month, some hours put down twice, and a run by a client."""
    control = plane(store, clock=Manual(NOW_MS))
    made = one_of_each(control)
    body = flow_body(made.source, made.target, made.segment) | {"name": "Another"}
    both = [made.flow, flows.create_flow(control, ANN, body).id]
    for hour in range(0, 30 * 24, 7):
        for index, flow in enumerate(both):
            for again in range(1 + hour % 2):
                runs.record_run(control, SCOPE, flow, START_MS + hour * HOUR_MS, figures(hour + index + again))
    runs.create_run(control, ANN, {"flowId": made.flow})
    return control, made, both


def by_hand(control: Control, since_ms: int, step_ms: int, flow: str | None) -> RunSums:
    """The sums, from every run that is there."""
    with control.store.read() as transaction:
        every = transaction.find(Query(kind=Kind.RUN, scope=SCOPE))
    since_ms -= since_ms % step_ms
    return run_figures.sums(every, SumsQuery(scope=SCOPE, since_ms=since_ms, step_ms=step_ms, flow=flow))


def check(control: Control, made: list[str]) -> None:
    """The store's sums are those of its runs, in every window and for every flow."""
    for step_ms in STEPS_MS:
        for since_ms in (START_MS, START_MS + 9 * DAY_MS + 5 * HOUR_MS, NOW_MS + DAY_MS):
            for flow in (None, *made, "nobody", "\x00"):
                expected = by_hand(control, since_ms, step_ms, flow)
                assert runs.sum_runs(control, ANN, since_ms=since_ms, step_ms=step_ms, flow=flow) == expected


def test_a_sum_by_hand(store: Store) -> None:
    """Counts add up, the mean is weighed by records, the longest is the longest, reasons are counted by kind."""
    control = plane(store)
    flow = one_of_each(control).flow
    first = Figures(
        received=10, delivered=6, failed=1, skipped=3, output_bytes=60, average_ms=10, greatest_ms=90,
        failures=(Count(code="a", message="A.", count=1),), skips=(Count(code="a", message="B.", count=3),),
    )  # fmt: skip
    second = Figures(received=10, delivered=2, skipped=8, output_bytes=20, average_ms=50, greatest_ms=70)
    runs.record_run(control, SCOPE, flow, START_MS, first)
    runs.record_run(control, SCOPE, flow, START_MS + HOUR_MS, second)
    found = runs.sum_runs(control, ANN, since_ms=START_MS, step_ms=DAY_MS)
    whole = RunFigures(
        received=20, activated=8, skipped=11, failed=1, sent_bytes=80, weighed_ms=160, weighed=8, greatest_ms=90,
        updated_ms=START_MS, runs=2,
    )  # fmt: skip
    assert found.flows == [msgspec.structs.replace(whole, flow=flow)]
    assert found.slots == [msgspec.structs.replace(whole, start_ms=START_MS)]
    assert found.flows[0].average_ms == 20
    assert found.flows[0].rate == 19 / 20
    assert found.reasons == [
        Reason(kind="excluded", code="a", message="B.", count=3),
        Reason(kind="failed", code="a", message="A.", count=1),
    ]


def test_t6_sums_are_those_of_the_runs_that_are_there(store: Store) -> None:
    """Hour by hour, by quarters of a day and by days; also after runs were replaced and old ones removed."""
    control, made, both = month(store)
    check(control, both)
    runs.record_run(control, SCOPE, made.flow, START_MS + 20 * DAY_MS, figures(1))
    later = plane(store, clock=Manual(NOW_MS + 11 * DAY_MS))
    assert hourly.Recorder(later, SCOPE).sweep() > 0
    check(control, both)


def test_runs_are_summed_where_a_file_rules(store: Store) -> None:
    """The flows are the file's, the runs the database's."""
    control, _, both = month(OverlayStore(store, MemoryStore()))
    check(control, both)
    with store.read() as transaction:
        assert transaction.find(Query(kind=Kind.FLOW, scope=SCOPE)) == []


def test_who_may_not_see_destinations_sees_no_sums(store: Store) -> None:
    """It needs View Destinations; a stretch that nobody keeps is refused with those that are kept."""
    control = plane(store)
    with pytest.raises(UseCaseError) as denied:
        runs.sum_runs(control, caller([Permission.VIEW_PROFILES]), since_ms=START_MS)
    assert denied.value.error_code == "2120-403"
    with pytest.raises(UseCaseError, match="3600000, 21600000, 86400000"):
        runs.sum_runs(control, ANN, since_ms=START_MS, step_ms=60_000)


def as_before(url: str) -> None:
    """Take a database back to the schema without sums."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in (
            "DROP TABLE run_figures", "DROP TABLE run_reasons", "UPDATE alembic_version SET version_num = '0001'"
        ):  # fmt: skip
            connection.exec_driver_sql(statement)
    engine.dispose()


def check_upgrade(url: str, driver_url: str) -> None:
    """A database without sums has them when it is opened."""
    store = TablesStore(url)
    _, _, both = month(store)
    store.close()
    as_before(driver_url)
    store = TablesStore(url)
    check(plane(store), both)
    store.close()


def test_an_older_database_has_its_sums(tmp_path: Path) -> None:
    """Opening it makes the sums of the runs that are there."""
    url = f"sqlite:///{tmp_path}/control.db"
    check_upgrade(url, url)


@pytest.mark.postgres
def test_an_older_database_on_postgresql_has_its_sums(postgres: str) -> None:
    """The same."""
    url = new_database(postgres, "sums")
    check_upgrade(url, url.replace("postgresql:", "postgresql+psycopg:"))
