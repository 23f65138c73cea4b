"""Alerts of a serving process, end to end: webhook, mail and command, through a kill and the recovery."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import msgspec
import pytest
import trustme

from headrace.testing import Child, Fault, Script
from tests.alerts.receivers import Posted, mail_server, webhook
from tests.cli.commands import background, headrace
from tests.e2e.updates import STREAMS, configuration, updates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def told(posted: Posted) -> list[tuple[str, str, str]]:
    said = [msgspec.json.decode(body) for _, _, body in posted.posts]
    return [(each["kind"], each["flow"], each["state"]) for each in said]


def test_alerts_go_out_once_over_a_kill_and_recover(tmp_path: Path) -> None:
    """A destination that refuses the key: raised by webhook, listed, not again after SIGKILL, recovered after."""
    data, config, env = tmp_path / "data", tmp_path / "c.json", {}
    lines = list(updates(6, 200, 10))
    (tmp_path / "u.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    refusing = Script(faults=(Fault(kind="refuse", code="AccessDeniedException", stream="stream-1"),))
    with webhook() as posted, Child(streams=dict.fromkeys(STREAMS.values(), 1)) as kinesis:
        kinesis.follow(refusing)
        config.write_bytes(msgspec.json.encode(configuration(kinesis.url)))
        env = {"HEADRACE_ALERT_WEBHOOK_URL": posted.url, "HEADRACE_ALERT_WEBHOOK_KEY": "key"}
        serve = ("serve", "--config", config, "--port", "0", "--no-api")
        fed = headrace("run", "-c", config, "-i", tmp_path / "u.jsonl", "--drain-timeout", "1", "-q", data=data)
        assert fed.code == 4, fed
        with background(*serve, data=data, env=env) as running:
            running.until(lambda: bool(posted.posts))
            assert told(posted) == [("destination-halted", "first", "raised")]
            (alert,) = headrace("alerts", "list", "--json", data=data).json
            assert (alert["kind"], alert["severity"], alert["until_ms"]) == ("destination-halted", "critical", None)
            assert "AccessDenied" in alert["detail"]
            shown = headrace("alerts", "list", data=data).out
            assert "accepts nothing" in shown
            assert "→ Mend what the answer names" in shown
            assert re.search(r'"alert": "destination-halted"', running.said())
            running.signal(signal.SIGKILL)
        assert len(headrace("alerts", "list", "--json", data=data).json) == 1
        kinesis.follow(Script())
        with background(*serve, data=data, env=env) as running:
            running.until(lambda: len(posted.posts) > 1)
            (waited, again) = re.findall(r"unclean stop: (\d+) exports waited, at most (\d+) of", running.said())[0]
            assert int(waited) >= int(again) > 0
            assert told(posted)[1:] == [("destination-halted", "first", "recovered")]
            running.signal(signal.SIGTERM)
            assert running.ended().code == 0
        assert headrace("alerts", "list", "--json", data=data).json == []
        (over,) = headrace("alerts", "list", "--all", "--json", data=data).json
        assert over["id"] == alert["id"]
        assert over["until_ms"] > over["since_ms"]


def test_a_test_goes_by_every_channel(tmp_path: Path) -> None:
    """Log, webhook and mail are named with their answer; 4 when one did not take it."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with webhook(200, 503) as posted, mail_server(ca) as server:
        env = {
            "HEADRACE_ALERT_WEBHOOK_URL": posted.url, "HEADRACE_ALERT_SMTP_HOST": "127.0.0.1",
            "HEADRACE_ALERT_SMTP_PORT": str(server.port), "HEADRACE_ALERT_MAIL_FROM": "h@example.com",
            "HEADRACE_ALERT_MAIL_TO": "ops@example.com", "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        }  # fmt: skip
        well = headrace("alerts", "test", data=tmp_path / "data", env=env)
        assert (well.code, well.out.splitlines()) == (0, ["log: taken", "webhook: taken", "e-mail: taken"])
        ill = headrace("alerts", "test", data=tmp_path / "data", env=env)
        assert (ill.code, ill.out.splitlines()[1]) == (4, "webhook: 127.0.0.1 answered 503")
    assert [state for _, _, state in told(posted)] == ["test", "test"]
    assert len(server.mails) == 2
    env["HEADRACE_ALERT_MAIL_FROM"] = ""
    wrong = headrace("alerts", "test", data=tmp_path / "data", env=env)
    assert (wrong.code, "HEADRACE_ALERT_MAIL_FROM" in wrong.err) == (2, True)
