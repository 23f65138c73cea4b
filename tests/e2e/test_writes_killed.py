"""Killing the server while it writes leaves no half-made resource, and nothing that was answered is missing."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from headrace.testing import Child
from tests.e2e.server import FLOWS, KINESIS_ID, Server, Tutorial, flow_body, map_attribute, serving, spec, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Writing:
    """Somebody who makes, changes and deletes resources without a pause, until the server is gone.

    Attributes:
        made: Ids of flows that were answered as made, and not deleted since.
        answered: Writes that were answered.
    """

    def __init__(self, server: Server, tutorial: Tutorial) -> None:
        self._server, self._tutorial = server, tutorial
        self.made: set[str] = set()
        self.unsure: set[str] = set()
        self.answered = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Writing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            for number in range(10_000):
                if self._ended.is_set():
                    return
                self._turn(number)
        except (httpx.HTTPError, AssertionError):
            pass  # the server is gone

    def _turn(self, number: int) -> None:
        """A target with its flow, which is changed; every third pair is deleted again."""
        server, tutorial = self._server, self._tutorial
        target = server.made(
            "POST", f"{FLOWS}/targetConnections",
            {"name": f"T{number}", "connectionSpec": spec(KINESIS_ID), "baseConnectionId": tutorial.connection,
             "data": {"format": "json"}, "params": {"stream": "one"}},
        )["id"]  # fmt: skip
        self.answered += 1
        flow = server.made("POST", f"{FLOWS}/flows", flow_body(tutorial.source, target))["id"]
        self.made.add(flow)
        self.answered += 1
        server.patch(f"{FLOWS}/flows/{flow}", map_attribute(f"web.n{number}"))
        self.answered += 1
        if number % 3 == 0 or len(self.made) > 60:
            self.unsure.add(flow)
            server.made("DELETE", f"{FLOWS}/flows/{flow}")
            self.made.discard(flow)
            self.unsure.discard(flow)
            self.answered += 1


def records(data: Path) -> Iterator[tuple[str, str, dict[str, Any], list[str]]]:
    """Kind, id, body and references of every record."""
    connection = sqlite3.connect(data / "control.db")
    for kind, record_id, body, refers in connection.execute("SELECT kind, id, body, refers FROM records").fetchall():
        yield kind, record_id, msgspec.json.decode(body), msgspec.json.decode(refers)
    connection.close()


def whole(data: Path) -> None:
    """Whatever a record uses is there, and the audit log tells exactly of what there is."""
    kept = list(records(data))
    ids = {record_id for _, record_id, _, _ in kept}
    for kind, record_id, body, refers in kept:
        assert all(each in ids or each.startswith("segment:") for each in refers), (kind, record_id)
        if kind == "flows":
            assert {*body["sourceConnectionIds"], *body["targetConnectionIds"]} <= ids
            assert body["lastOperation"]["status"]["value"] == "completed"
    connection = sqlite3.connect(data / "control.db")
    made = connection.execute("SELECT kind, resource_id FROM audit WHERE action = 'create'").fetchall()
    gone = connection.execute("SELECT kind, resource_id FROM audit WHERE action = 'delete'").fetchall()
    (checked,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    assert checked == "ok"
    assert set(made) - set(gone) == {(kind, record_id) for kind, record_id, _, _ in kept}
    assert len(made) == len(set(made))


def test_kills_while_writing_leave_nothing_half_made(tmp_path: Path) -> None:
    """The control process, and then the engine as well, are killed after so many answers, each time at work."""
    data = tmp_path / "data"
    with Child(streams={"one": 1}) as kinesis:
        with serving(data) as server:
            tutorial, keys = Tutorial(server, kinesis.url, "one"), server.keys
            expected: set[str] = {tutorial.flow}
            for count in (5, 12, 21):
                with Writing(server, tutorial) as work:
                    until(lambda: work.answered >= count, server.running.said)  # noqa: B023 - called within the turn
                    control = server.control_pid()
                    os.kill(control, signal.SIGKILL)
                    until(lambda: server.control_pid() not in (0, control), server.running.said)  # noqa: B023
                whole(data)
                expected = _flows(server, expected, work)
            with Writing(server, tutorial) as work:
                until(lambda: work.answered >= 9, server.running.said)
                server.running.signal(signal.SIGKILL)
        whole(data)
        with serving(data, keys=keys) as again:
            expected = _flows(again, expected, work)
            until(lambda: set(again.flows()) == set(expected), again.running.said)


def _flows(server: Server, before: set[str], work: Writing) -> set[str]:
    """The flows that are there: all that were answered; of one whose answer was cut off, either."""
    there = {each["id"] for each in server.made("GET", f"{FLOWS}/flows?limit=100")["items"]}
    sure = (before | work.made) - work.unsure
    assert sure <= there
    assert len(there - sure) <= 1
    return there
