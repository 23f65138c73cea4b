"""``headrace serve`` as a process: collection, health, metrics, reload, socket, and its end."""

from __future__ import annotations

import gzip
import http.client
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from headrace.testing import Child, Fault, Script, canonical, content, fold, judge, read_records
from tests.cli.commands import Running, background, headrace
from tests.e2e.updates import PLANS, STREAMS, configuration, updates, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Serving:
    """A serving process, its Kinesis, and a client."""

    def __init__(self, running: Running, kinesis: Child, folder: Path, port: int) -> None:
        self.running, self.kinesis, self.folder, self.port = running, kinesis, folder, port
        self.config, self.data, self.recording = folder / "config.json", folder / "data", folder / "received"

    def ask(self, method: str, path: str, body: bytes = b"", **head: str) -> tuple[int, bytes]:
        """One request; the names of headers with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {"Content-Type": "application/json"} | {
                name.replace("_", "-"): text for name, text in head.items()
            }
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, lines: list[bytes], size: int = 100) -> None:
        """Post updates in batches; each must be stored."""
        for at in range(0, len(lines), size):
            status, body = self.ask(
                "POST", "/collection/batch/web", b'{"messages":[' + b",".join(lines[at : at + size]) + b"]}"
            )
            assert status == 207, body
            assert all("status" not in response for response in msgspec.json.decode(body)["responses"]), body

    def totals(self) -> dict[str, Any]:
        """The totals, as the command says them."""
        found: dict[str, Any] = headrace("status", "--json", data=self.data).json["totals"]
        return found

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics."""
        status, body = self.ask("GET", "/metrics")
        assert status == 200
        samples = [line.rsplit(" ", 1) for line in body.decode().splitlines() if line and not line.startswith("#")]
        return {name: float(figure) for name, figure in samples}

    def settled(self) -> bool:
        """Whether nothing waits."""
        return all(n == 0 for name, n in self.metrics().items() if name.startswith("headrace_flow_pending"))

    def hold(self, lines: list[bytes], flows: tuple[str, ...] = ("first", "second")) -> None:
        """The streams hold exactly what the updates come to, in order, each message once."""
        folded = fold(lines, PLANS, identify=canonical)
        verdict = judge(
            {STREAMS[flow]: folded.expected(flow) for flow in flows}, read_records(self.recording), identify=content,
            joins={STREAMS[flow]: folded.joins[flow] for flow in flows},
        )  # fmt: skip
        assert verdict.ok, verdict
        assert verdict.expected == verdict.records, verdict


class Place(NamedTuple):
    """Where a server can be started: again and again on the same folder."""

    folder: Path
    kinesis: Child

    @contextmanager
    def serving(self, *more: str, **env: str) -> Iterator[Serving]:
        """A process, ready."""
        arguments = ("serve", "--config", str(self.folder / "config.json"), "--port", "0", *more)
        with background(*arguments, data=self.folder / "data", env=env) as running:
            running.until(lambda: '"ready"' in running.said())
            found = re.search(r"http://127\.0\.0\.1:(\d+)/collection/", running.said())
            assert found, running.said()
            yield Serving(running, self.kinesis, self.folder, int(found[1]))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a configuration, and its Kinesis."""
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=tmp_path / "received") as kinesis:
        write_configuration(tmp_path / "config.json", kinesis.url)
        yield Place(tmp_path, kinesis)


def test_posted_updates_are_delivered_and_the_figures_add_up(place: Place) -> None:
    """Single and batch, gzip, with a malformed neighbour; metrics, health and the commands agree with the stream."""
    lines = list(updates(1, 601, 40))
    with place.serving() as serving:
        status, body = serving.ask("POST", "/collection/web", lines[0])
        assert status == 200
        assert msgspec.json.decode(body)["inletId"] == "web"
        status, body = serving.ask("POST", "/collection/web", gzip.compress(lines[1]), Content_Encoding="gzip")
        assert status == 200, body
        serving.post(lines[2:])
        status, body = serving.ask("POST", "/collection/web", b'{"person":{}}')
        assert status == 400
        assert "identit" in body.decode()
        mixed = b'{"messages":[{"identityMap":7},' + updates_of_nobody() + b"]}"
        status, body = serving.ask("POST", "/collection/batch/web", mixed)
        assert status == 207
        assert [response.get("status") for response in msgspec.json.decode(body)["responses"]] == [400, None]
        serving.running.until(serving.settled)
        serving.hold(lines)

        assert serving.ask("GET", "/healthz")[0] == 200
        status, body = serving.ask("GET", "/readyz")
        assert status == 200
        assert msgspec.json.decode(body)["flows"] == {"first": "running", "second": "running"}
        _add_up(serving.metrics(), serving.recording)

        totals = serving.totals()
        assert totals["received"] == 604
        assert totals["accepted"] == 602
        replayed = headrace("journal", "replay", data=serving.data)
        assert (replayed.code, replayed.err) == (0, "")
        assert "the same" in replayed.out
        assert headrace("dead-letters", "list", data=serving.data).code == 0
        serving.running.signal(signal.SIGTERM)
        assert serving.running.ended().code == 0
    assert headrace("journal", "replay", data=place.folder / "data").out == replayed.out
    assert headrace("status", "--json", data=place.folder / "data").json["totals"] == totals


def updates_of_nobody() -> bytes:
    """An update about somebody of whom nothing is exported."""
    return b'{"identityMap":{"Email":[{"id":"nobody@else.example"}]}}'


def _add_up(metrics: dict[str, float], recording: Path) -> None:
    def total(name: str) -> float:
        return sum(n for key, n in metrics.items() if re.fullmatch(rf"headrace_{name}(_total)?(\{{.*\}})?", key))

    assert total("received") == total("accepted") + total("repeats") + total("refused") == 604
    assert total("flow_accepted") == total("flow_exported") + total("flow_held") == 2 * 602
    assert total("flow_exported") == total("flow_delivered") == sum(1 for _ in read_records(recording))
    assert total("flow_pending") == total("flow_dead_lettered") == total("flow_discarded") == 0
    assert total("settle_seconds_count") == total("flow_shard_delivered") == total("flow_delivered")
    assert total("flow_written") == total("flow_delivered")
    assert total("flow_request_fill_count") == total("flow_requests")
    assert metrics["headrace_commit_inputs_sum"] == 602 + total("repeats")


def test_an_idempotency_key_and_an_id_apply_an_update_once(place: Place) -> None:
    """The same update again under the same key, or with the same _id, is answered well and changes nothing."""
    line = next(line for line in updates(1, 100, 1) if b'"realized"' in line and b"aud-2" in line)
    named = line[:-1] + b',"_id":"update-1"}'
    with place.serving() as serving:
        for _ in range(2):
            assert serving.ask("POST", "/collection/web", line, Idempotency_Key="key-1")[0] == 200
            assert serving.ask("POST", "/collection/web", named)[0] == 200
        serving.running.until(serving.settled)
        totals = serving.totals()
        assert (totals["accepted"], totals["repeats"]) == (2, 2)
        serving.hold([line, named])
    with place.serving() as serving:
        assert serving.ask("POST", "/collection/web", line, Idempotency_Key="key-1")[0] == 200
        serving.running.until(serving.settled)
        assert serving.totals()["repeats"] == 3
        serving.hold([line, named])


def test_a_stop_answers_drains_and_goes_on(place: Place) -> None:
    """SIGTERM drains what was posted, ends with 0, and the next process sends nothing of it again."""
    lines = list(updates(2, 2000, 100))
    with place.serving() as serving:
        serving.post(lines[:1500], size=500)
        serving.running.signal(signal.SIGTERM)
        stopped = serving.running.ended()
        assert stopped.code == 0
        assert "stopped" in stopped.err
        serving.hold(lines[:1500])
    with place.serving() as serving:
        serving.post(lines[1500:])
        serving.running.until(serving.settled)
        serving.hold(lines)


def test_what_cannot_be_drained_in_time_is_kept(place: Place) -> None:
    """A destination that refuses everything: the stop ends in time and says what is kept; the next start sends it."""
    lines = list(updates(3, 300, 20))
    place.kinesis.follow(Script(faults=(Fault(kind="throttle", rate=1.0),)))
    with place.serving(HEADRACE_DRAIN_TIMEOUT_S="0.5") as serving:
        serving.post(lines)
        serving.running.signal(signal.SIGINT)
        stopped = serving.running.ended()
        assert stopped.code == 0
        assert "kept for the next start" in stopped.err
    place.kinesis.follow(Script())
    with place.serving() as serving:
        serving.running.until(serving.settled)
        serving.hold(lines)


def test_a_changed_configuration_is_put_in_force_or_refused_whole(place: Place) -> None:
    """A valid change takes effect while running; one with mistakes is logged with all of them, changing nothing."""
    lines = list(updates(4, 900, 60))
    write_configuration(place.folder / "config.json", place.kinesis.url, flows=("first",))
    with place.serving() as serving:
        serving.post(lines[:300])
        wrong = configuration(place.kinesis.url)
        wrong["flows"][0]["transformations"][0]["params"]["headrace"]["membershipScope"] = "some"
        wrong["flows"][1]["targetConnectionIds"] = ["nowhere"]
        serving.config.write_bytes(msgspec.json.encode(wrong))
        serving.running.until(lambda: "configuration refused" in serving.running.said())
        assert "membershipScope" in serving.running.said()
        assert "nowhere" in serving.running.said()
        serving.post(lines[300:600])
        serving.running.until(serving.settled)
        serving.hold(lines[:600], flows=("first",))
        assert b"second" not in serving.ask("GET", "/readyz")[1]

        write_configuration(serving.config, place.kinesis.url)
        serving.running.until(lambda: b"second" in serving.ask("GET", "/readyz")[1])
        serving.post(lines[600:])
        serving.running.until(serving.settled)
        streams = {record.stream for record in read_records(serving.recording)}
        assert streams == {"stream-1", "stream-2"}
        folded = fold(lines, PLANS, identify=canonical)
        first = [record for record in read_records(serving.recording) if record.stream == "stream-1"]
        verdict = judge(
            {"stream-1": folded.expected("first")}, first, identify=content,
            joins={"stream-1": folded.joins["first"]},
        )  # fmt: skip
        assert verdict.ok, verdict
        assert verdict.records == verdict.expected
        assert headrace("journal", "replay", data=serving.data).code == 0


def test_a_flow_that_is_paused_and_enabled_by_reload_sends_what_was_kept(place: Place) -> None:
    """Disabled its exports are kept and the other flow goes on; enabled again they are sent, none twice."""
    lines = list(updates(5, 600, 40))
    with place.serving() as serving:
        serving.post(lines[:200])
        paused = configuration(place.kinesis.url)
        paused["flows"][0]["state"] = "disabled"
        serving.config.write_bytes(msgspec.json.encode(paused))
        serving.running.until(lambda: b"paused" in serving.ask("GET", "/readyz")[1])
        serving.post(lines[200:])
        write_configuration(serving.config, place.kinesis.url)
        serving.running.until(lambda: b"paused" not in serving.ask("GET", "/readyz")[1])
        serving.running.until(serving.settled)
        serving.hold(lines)


def test_a_port_that_is_taken_and_a_folder_that_is_held_are_clear(place: Place) -> None:
    """Each ends with 2 and says what to do."""
    with place.serving() as serving:
        config = ("serve", "--config", serving.config)
        taken = headrace(*config, "--port", str(serving.port), data=place.folder / "other")
        assert taken.code == 2, taken
        assert str(serving.port) in taken.err
        held = headrace(*config, "--port", "0", data=serving.data)
        assert held.code == 2, held
        assert f"process {serving.running.pid}" in held.err
    assert headrace(*config, "--port", "70000", data=place.folder / "other").code == 2


def test_other_inputs_are_read_beside_the_collection(place: Place) -> None:
    """A file given with --input is followed while updates are posted; both end in the streams."""
    lines = list(updates(6, 900, 60))
    file = place.folder / "input.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines[:300]))
    with place.serving("--input", str(file)) as serving:
        serving.running.until(lambda: serving.totals()["accepted"] == 300)
        serving.post(lines[300:600])
        serving.running.until(lambda: serving.totals()["accepted"] == 600)
        with file.open("ab") as more:
            more.write(b"".join(line + b"\n" for line in lines[600:]))
        serving.running.until(lambda: serving.totals()["accepted"] == 900)
        serving.running.until(serving.settled)
        serving.hold(lines)
