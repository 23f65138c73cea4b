"""A control plane with one of everything, behind the API: what the suites of this room begin with."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from headrace.api.app import create_app
from headrace.api.limits import Limits
from headrace.control import accounts, organisations, runs
from headrace.control.accounts import NewAccount
from headrace.control.organisations import FirstStart
from headrace.control.service import Control
from headrace.control.store import Store
from tests.control.plane import ANN, SCOPE, Made, one_of_each, started

from .client import Client, signed_in
from .engine import Engine, letter, profile

# What these tests are about is not how many requests one address may make.
UNBOUNDED = Limits(requests_per_s=0, sign_ins_per_s=0)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one test.

    Attributes:
        control: The control plane.
        engine: The engine.
        app: The application.
        first: The administrator's accounts.
        made: One of each resource.
        run: A run of the flow.
        backfill: A backfill of the flow.
        letter: A dead letter of the flow.
        spare: A client that may be removed.
        user: A user that may be removed.
        role: Id of a role that may be removed.
        client: Signed in as the administrator.
    """

    control: Control
    engine: Engine
    app: FastAPI
    first: FirstStart
    made: Made
    run: str
    backfill: str
    letter: str
    spare: NewAccount
    user: NewAccount
    role: str
    client: Client


def world(store: Store | None = None, *, limits: Limits = UNBOUNDED, **fields: Any) -> World:
    """Make one."""
    control, first = started(store, **fields)
    engine = Engine()
    made = one_of_each(control)
    organisations.create_sandbox(control, ANN, {"name": "dev"})
    run = runs.record_run(control, SCOPE, made.flow, 0, runs.Figures(received=3, delivered=2, skipped=1))
    assert run is not None
    engine.flows.append(made.flow)
    backfill = engine.ask("backfill-start", flow=made.flow, kind="backfill")["run"]
    dead = letter(made.flow)
    engine.letters[dead["id"]] = dead
    engine.profiles["email", "ann@example.test"] = profile(made.flow)
    role = accounts.create_role(control, ANN, {"name": "spare", "permissions": []})["id"]
    app = create_app(control, engine, limits=limits)
    return World(
        control=control, engine=engine, app=app, first=first, made=made, run=run, backfill=backfill,
        letter=dead["id"], role=role,
        spare=accounts.create_client(control, ANN, {"name": "spare", "roles": ["viewer"]}),
        user=accounts.create_user(control, ANN, {"name": "spare", "roles": ["viewer"]}),
        client=signed_in(Client(app), first),
    )  # fmt: skip
