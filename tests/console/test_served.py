"""Pages of the console on the real engine, which ``headrace serve`` runs beside it."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from headrace.testing import Child
from tests.e2e.server import BOUND_S, Server, Tutorial, member, serving, until

from .served import Visitor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@contextlib.contextmanager
def signed_in(server: Server) -> Iterator[Visitor]:
    """The administrator of the first start."""
    with httpx.Client(base_url=server.api, timeout=BOUND_S) as client:
        made = Visitor(client)
        assert made.sign_in(server.keys.login, server.keys.password).status_code == 303
        yield made


def text(page: str) -> str:
    """The words of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_person_is_deleted_to_the_end(tmp_path: Path) -> None:
    """The page follows the deletion until nothing names the person, and shows the acknowledged last message."""
    with Child(streams={"one": 2}) as kinesis, serving(tmp_path / "data") as server:
        tutorial = Tutorial(server, kinesis.url, "one")
        tutorial.map()
        server.patch(
            tutorial.path,
            {"op": "add", "path": "/transformations/0/params/headrace", "value": {"onDelete": "exit"}},
        )
        until(lambda: tutorial.flow in server.flows(), server.running.said)
        server.post(member(1, "ada"), member(2, "bob"), member(3, "bob"))
        who = {"namespace": "email", "id": "bob@example.com"}
        with signed_in(server) as seen:
            begun = seen.post("/ui/profile/delete", **who)
            assert begun.status_code == 303, text(begun.text)
            page = begun.headers["location"]
            until(lambda: "Nothing that is kept names this person" in text(seen.get(page).text), server.running.said)
            over = text(seen.get(page).text)
            assert "To the stream" in over.partition("Last messages")[2]
            assert "Settled" in over
            # Two updates and the deletion itself; their two messages and the last one.
            assert "Inputs made unreadable 3 Ledger entries made unreadable 3" in over
            assert who["id"] not in over
            assert "No profile has this identity" in text(seen.get("/ui/profile", **who).text)
            assert "No profile has this identity" not in text(
                seen.get("/ui/profile", namespace="email", id="ada@example.com").text
            )


def test_sizes_are_counted_among_the_stored_profiles(tmp_path: Path) -> None:
    """The list of audiences tells how many members there are, without those who left."""
    with Child(streams={"one": 2}) as kinesis, serving(tmp_path / "data") as server:
        tutorial = Tutorial(server, kinesis.url, "one")
        platforms = server.made(
            "POST", "/data/core/ups/segment/definitions",
            {
                "name": "Qualified", "schema": {"name": "_xdm.context.profile"},
                "expression": {"type": "PQL", "format": "pql/text", "value": "web.n > 0"},
            },
        )["id"]  # fmt: skip
        updates = [*(member(n, f"person{n}") for n in range(7)), member(8, "gone", "exited")]
        for one in updates[:3]:
            one["segmentMembership"]["ups"] = {platforms: one["segmentMembership"]["CRM"]["vip"]}
        server.post(*updates)
        with signed_in(server) as seen:
            shown = text(seen.get("/ui/audiences").text)
            assert "Counted in all 8 profiles." in shown
            row = shown.partition("VIP")[2]
            assert "CRM 7 " in row, row
            # Memberships of the platform's own audiences are stored under ups, which the list calls otherwise.
            assert "AEPSegments 3 " in shown.partition("Qualified")[2], shown
            first_step = text(seen.get(f"/ui/activate/{tutorial.flow}").text)
            assert "AEPSegments 3 " in first_step.partition("Qualified")[2], first_step
            told = server.made("GET", "/headrace/audience-sizes")["audiences"]
            assert {each["id"]: each["about"] for each in told} == {tutorial.segment: 7, platforms: 3}
            review = seen.post(
                f"/ui/activate/{tutorial.flow}", step="review", audience=tutorial.segment, etag="",
                **{f"namespace.{tutorial.segment}": "CRM"},
            )  # fmt: skip
            figures = text(review.text).partition("Size of the first send")[2]
            assert "Profiles 7 " in figures, figures
