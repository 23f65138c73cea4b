"""The channels against real receivers: signatures, accounts, TLS, and what is said when they do not take a notice."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from headrace import settings
from headrace.alerts.channels import SIGNATURE, Channel, Log, Mail, Notice, Webhook, configured, mistakes
from headrace.alerts.rules import Alert
from headrace.clock import Manual
from headrace.errors import AlertError

from .logged import logged
from .receivers import mail_server, webhook

CLOCK = Manual()
SECRET = "PLANTED-secret-7f3a"


def notice(state: str = "raised", **fields: Any) -> Notice:
    alert = Alert(
        id="5-1", kind="lag", flow="f", severity="warning", title="Flow lags behind", detail="the oldest waits",
        what_to_do="Look.", since_ms=CLOCK.now_ms(), until_ms=CLOCK.now_ms() if state == "recovered" else None,
    )  # fmt: skip
    return Notice(id=f"5-1-{state}", state=state, alert=alert, **fields)


def load(folder: Path, **given: Any) -> settings.Settings:
    return settings.load(environ={}, data_dir=folder, **given)


@pytest.fixture
def ca(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """An authority that this process trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def test_a_webhook_gets_signed_json() -> None:
    """The body tells all of the alert; the signature is that of time and body under the key."""
    with webhook(200) as posted:
        Webhook(posted.url + "/in?room=1", SECRET, "prod", CLOCK).send(notice("recovered"))
    ((path, headers, body),) = posted.posts
    assert path == "/in?room=1"
    said = msgspec.json.decode(body)
    assert said["state"] == "recovered"
    assert (said["kind"], said["flow"], said["sandbox"], said["whatToDo"]) == ("lag", "f", "prod", "Look.")
    assert said["text"] == "[warning] recovered: Flow lags behind: the oldest waits"
    assert said["since"] == said["until"] == "2023-11-14T22:13:20.000Z"
    at, _, signed = headers[SIGNATURE].partition(",v1=")
    assert at == f"t={CLOCK.now_ms() // 1000}"
    wanted = hmac.new(SECRET.encode(), at[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(signed, wanted)


def test_a_webhook_without_key_is_not_signed() -> None:
    """No header that would look like a signature."""
    with webhook() as posted:
        Webhook(posted.url, "", "prod", CLOCK).send(notice())
    assert SIGNATURE not in posted.posts[0][1]


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_a_webhook_that_does_not_take_it_is_named(status: int) -> None:
    """Its status is told, and a redirection is not followed: the signature would go elsewhere."""
    with webhook(status) as posted:
        with pytest.raises(AlertError, match=f"webhook: 127.0.0.1 answered {status}"):
            Webhook(f"{posted.url}/{SECRET}", SECRET, "prod", CLOCK).send(notice())
        assert len(posted.posts) == 1


def test_a_webhook_that_is_not_there_is_named_without_its_path() -> None:
    """The URL's path may be its secret."""
    with webhook() as posted:
        url = posted.url
    with pytest.raises(AlertError, match=r"webhook: 127\.0\.0\.1: Connection refused") as caught:
        Webhook(f"{url}/{SECRET}", SECRET, "prod", CLOCK).send(notice())
    assert SECRET not in str(caught.value)


def test_a_webhook_over_tls_is_trusted_or_not(ca: trustme.CA) -> None:
    """With a certificate of a trusted authority it is told; with another one it is not."""
    with webhook(ca=ca) as posted:
        Webhook(posted.url, "", "prod", CLOCK).send(notice())
        assert len(posted.posts) == 1
    with webhook(ca=trustme.CA()) as other:
        with pytest.raises(AlertError, match="certificate is not trusted"):
            Webhook(other.url, "", "prod", CLOCK).send(notice())
        assert other.posts == []


def mail(folder: Path, port: int, **given: Any) -> Mail:
    whole: dict[str, Any] = {
        "alert_mail_from": "headrace@example.com",
        "alert_mail_to": "a@example.com, b@example.com",
    }
    return Mail(load(folder, alert_smtp_host="127.0.0.1", alert_smtp_port=port, **(whole | given)), CLOCK)


def test_mail_goes_over_starttls_and_signs_in(ca: trustme.CA, tmp_path: Path) -> None:
    """Both recipients, a subject, and all that is known in the text; nothing before TLS."""
    with mail_server(ca, user="me", password=SECRET) as server:
        mail(tmp_path, server.port, alert_smtp_user="me", alert_smtp_password=SECRET).send(notice())
    ((to, text),) = server.mails
    assert (to, server.by) == (["a@example.com", "b@example.com"], [("me", True)])
    made = email.message_from_string(text, policy=email.policy.default)
    assert made["Subject"] == "[headrace prod] Flow lags behind"
    assert made["Date"] == "Tue, 14 Nov 2023 22:13:20 -0000"
    body = made.get_content()
    for words in ("the oldest waits", "Look.", "severity: warning", "flow: f"):
        assert words in body


def test_mail_goes_over_tls_from_the_start(ca: trustme.CA, tmp_path: Path) -> None:
    """As port 465 speaks it."""
    with mail_server(ca, at_once=True) as server:
        mail(tmp_path, server.port, alert_smtp_security="tls").send(notice())
    assert server.by == [("", True)]


def test_mail_in_the_open_is_possible_without_an_account(ca: trustme.CA, tmp_path: Path) -> None:
    """For a server on the same machine."""
    with mail_server(ca) as server:
        mail(tmp_path, server.port, alert_smtp_security="none").send(notice())
    assert server.by == [("", False)]


def test_a_flow_may_name_its_own_addresses(ca: trustme.CA, tmp_path: Path) -> None:
    """They stand in place of the settings'; none at all is no mail."""
    with mail_server(ca) as server:
        mail(tmp_path, server.port).send(notice(mail_to=("own@example.com",)))
        mail(tmp_path, server.port).send(notice(mail_to=()))
    assert [to for to, _ in server.mails] == [["own@example.com"]]


def test_a_mail_server_that_does_not_take_it_is_named_without_secrets(ca: trustme.CA, tmp_path: Path) -> None:
    """A wrong password, a refused recipient, an unknown authority, nobody there."""
    with mail_server(ca, user="me", password="another") as server:
        with pytest.raises(AlertError, match=r"e-mail: 127\.0\.0\.1 answered 535") as caught:
            mail(tmp_path, server.port, alert_smtp_user="me", alert_smtp_password=SECRET).send(notice())
        assert SECRET not in str(caught.value)
    with mail_server(ca) as server:
        server.refused = "example.com"
        with pytest.raises(AlertError, match=r"refused 2 addresses with \[550\]"):
            mail(tmp_path, server.port).send(notice())
    with mail_server(trustme.CA()) as server, pytest.raises(AlertError, match="certificate is not trusted"):
        mail(tmp_path, server.port).send(notice())
    with pytest.raises(AlertError, match="Connection refused"):
        mail(tmp_path, server.port).send(notice())


def test_the_log_tells_level_kind_and_flow() -> None:
    """A grave alert is an error, a recovery is told as information."""
    with logged() as said:
        Log().send(notice())
        Log().send(notice("recovered"))
    raised, over = said.lines
    assert (raised["level"], raised["alert"], raised["flow"], raised["event"]) == (
        "warning", "lag", "f", "Flow lags behind",
    )  # fmt: skip
    assert (over["level"], over["event"]) == ("info", "recovered: Flow lags behind")


def names(channels: list[Channel]) -> list[str]:
    return [channel.name for channel in channels]


def test_the_settings_name_the_channels(tmp_path: Path) -> None:
    """The log unless it is switched off, the others where they are configured."""
    assert names(configured(load(tmp_path), CLOCK)) == ["log"]
    whole = load(
        tmp_path, alert_log="no", alert_webhook_url="https://example.com/x", alert_smtp_host="mail",
        alert_mail_from="a@b",
    )  # fmt: skip
    assert names(configured(whole, CLOCK)) == ["webhook", "e-mail"]
    assert mistakes(whole) == []


def test_settings_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    """A webhook that is none, mail from nobody, a password in the open; no value is repeated."""
    wrong = load(
        tmp_path, alert_webhook_url=f"ftp://{SECRET}", alert_smtp_host="mail", alert_smtp_user="me",
        alert_smtp_security="none",
    )  # fmt: skip
    found = mistakes(wrong)
    assert [m.place for m in found] == [
        "HEADRACE_ALERT_WEBHOOK_URL", "HEADRACE_ALERT_MAIL_FROM", "HEADRACE_ALERT_SMTP_SECURITY",
    ]  # fmt: skip
    assert SECRET not in str(found)
