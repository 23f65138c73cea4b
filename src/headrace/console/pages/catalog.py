"""Catalog: what can be connected, and what is known of each destination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import overview
from headrace.console.visit import Console, Visit, page
from headrace.control import specs
from headrace.destinations.base import Spec


class Product(msgspec.Struct, kw_only=True):
    """A card.

    Attributes:
        spec: The destination.
        accounts: Base connections of it.
        flows: Flows to it.
    """

    spec: Spec
    accounts: int
    flows: int


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [page(console, "/catalog", show), page(console, "/catalog/{spec_id}", show)]


def show(visit: Visit) -> Response:
    """The cards, narrowed by what was typed, with one destination's description beside them."""
    specs.list_connection_specs(visit.control, visit.caller)
    wanted, category, mine = visit.query("q").lower(), visit.query("category"), visit.query("mine") == "true"
    products = _products(visit)
    shown = [
        each
        for each in products
        if wanted in f"{each.spec.name} {each.spec.description} {each.spec.category}".lower()
        and category in ("", each.spec.category)
        and (not mine or each.accounts)
    ]
    chosen = visit.request.path_params.get("spec_id", "")
    if chosen:
        specs.get_connection_spec(visit.control, visit.caller, chosen)
    categories = sorted({each.spec.category for each in products})
    selected = next((each for each in products if each.spec.id == chosen), None)
    return visit.page(
        "catalog.html",
        products=shown,
        grouped=[(each, [p for p in shown if p.spec.category == each]) for each in categories],
        categories=categories,
        wanted=visit.query("q"),
        category=category,
        mine=mine,
        selected=selected,
        policy=policy_document(selected.spec) if selected else "",
    )


def _products(visit: Visit) -> list[Product]:
    accounts = overview.accounts(visit.control, visit.caller)
    rows = overview.rows(visit.control, visit.caller)
    return [
        Product(
            spec=spec,
            accounts=_of(spec, [each["connectionSpec"]["id"] for each in accounts]),
            flows=_of(spec, [each.spec.id for each in rows if each.spec]),
        )
        for spec in visit.control.catalog.destinations.values()
    ]


def _of(spec: Spec, ids: Sequence[str]) -> int:
    return sum(each == spec.id for each in ids)


def policy_document(spec: Spec) -> str:
    """The policy to give to the account's keys, with the places to fill in; empty when nothing needs allowing.

    ListStreams takes no resource in IAM, so it stands in a statement of its own (service authorization reference of
    Amazon Kinesis Data Streams).
    """
    everywhere = [each for each in spec.permissions if each.endswith(":ListStreams")]
    scoped = [each for each in spec.permissions if each not in everywhere]
    statements: list[dict[str, Any]] = []
    if everywhere:
        statements.append({"Effect": "Allow", "Action": everywhere, "Resource": "*"})
    if scoped:
        arn = "arn:aws:kinesis:REGION:ACCOUNT:stream/STREAM"
        statements.append({"Effect": "Allow", "Action": scoped, "Resource": arn})
    if not statements:
        return ""
    document = {"Version": "2012-10-17", "Statement": statements}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
