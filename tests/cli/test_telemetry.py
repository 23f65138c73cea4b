"""Telemetry of a serving process: what /metrics shows is at the collector, and a trace of what was posted."""

from __future__ import annotations

import http.client
import re
import signal
from pathlib import Path

import pytest

from headrace.testing import Child
from tests.bootstrap.collector import collector
from tests.cli.commands import background, headrace
from tests.e2e.updates import SECRET, STREAMS, updates, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_serving_process_sends_metrics_and_traces(tmp_path: Path) -> None:
    """After a stop the collector has the last figures; the token is in no log."""
    lines = list(updates(8, 50, 10))
    config = tmp_path / "c.json"
    with collector() as collected, Child(streams=dict.fromkeys(STREAMS.values(), 1)) as kinesis:
        write_configuration(config, kinesis.url)
        env = {
            "HEADRACE_OTEL_ENDPOINT": collected.url, "HEADRACE_OTEL_HEADERS": f"x-token={SECRET}",
            "HEADRACE_OTEL_TRACE_PERCENT": "100",
        }  # fmt: skip
        serve = ("serve", "-c", config, "--port", "0", "--no-api")
        with background(*serve, data=tmp_path / "data", env=env) as running:
            running.until(lambda: '"ready"' in running.said())
            port = re.search(r"http://127\.0\.0\.1:(\d+)/collection/", running.said())
            assert port is not None
            connection = http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=30)
            body = b'{"messages":[' + b",".join(lines) + b"]}"
            connection.request("POST", "/collection/batch/web", body, {"Content-Type": "application/json"})
            assert connection.getresponse().read()
            connection.close()
            running.signal(signal.SIGTERM)
            assert running.ended().code == 0
        delivered = headrace("status", "--json", data=tmp_path / "data").json["totals"]["flows"]
    points = collected.latest()["headrace.flow_delivered"].sum.data_points
    assert sum(point.as_double for point in points) == sum(flow["delivered"] for flow in delivered.values()) > 0
    assert {"batch", "accept", "decide", "commit", "send", "settle"} == {span.name for span in collected.spans}
    assert all(headers["x-token"] == SECRET for headers in collected.headers)


def test_wrong_headers_end_it_with_2(tmp_path: Path) -> None:
    """The mistake is named, and what was given is not repeated."""
    config = tmp_path / "c.json"
    write_configuration(config, "http://127.0.0.1:1")
    env = {"HEADRACE_OTEL_ENDPOINT": "http://127.0.0.1:1", "HEADRACE_OTEL_HEADERS": SECRET}
    said = headrace("serve", "-c", config, "--port", "0", "--no-api", data=tmp_path / "data", env=env)
    assert said.code == 2
    assert "HEADRACE_OTEL_HEADERS" in said.err
