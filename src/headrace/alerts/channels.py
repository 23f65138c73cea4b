"""The channels that tell of alerts: the log, a signed webhook, e-mail. Each sends one notice and may block.

Contract (tests/alerts/test_channels.py): ``send`` returns once the other side has taken the notice, and raises
``AlertError`` when it has not, within about 10 s. No error and no log line holds a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from headrace import logs
from headrace.alerts.rules import Alert
from headrace.clock import Clock
from headrace.core.times import from_ms
from headrace.errors import AlertError, Mistake
from headrace.settings import Settings

TIMEOUT_S: Final = 10.0
SIGNATURE: Final = "Headrace-Signature"
_ANSWER_BYTES: Final = 65_536
_LEVELS: Final = {"critical": "error", "warning": "warning", "info": "info"}


class Notice(msgspec.Struct, kw_only=True):
    """What is told of an alert: that it was raised, that it recovered, or a test.

    Attributes:
        id: The same when it is sent again.
        state: raised, recovered or test.
        alert: The alert.
        mail_to: Addresses in place of the settings'; None for theirs.
    """

    id: str
    state: str
    alert: Alert
    mail_to: tuple[str, ...] | None = None

    @property
    def subject(self) -> str:
        """One line."""
        return {"recovered": "recovered: ", "test": "test: "}.get(self.state, "") + self.alert.title


class Channel(Protocol):
    """See the module."""

    name: str

    def send(self, notice: Notice) -> None:
        """Tell of it.

        Raises:
            AlertError: The other side has not taken it.
        """


class Log:
    """Writes a log line."""

    name = "log"

    def send(self, notice: Notice) -> None:
        """See ``Channel``."""
        alert = notice.alert
        level = "info" if notice.state == "recovered" else _LEVELS[alert.severity]
        found: dict[str, Any] = {"alert": alert.kind, "state": notice.state, "alert_id": alert.id}
        if alert.flow:
            found["flow"] = alert.flow
        if notice.state != "recovered":
            found |= {"detail": alert.detail, "what_to_do": alert.what_to_do}
        getattr(logs.get(**found), level)(notice.subject)


def body_of(notice: Notice, sandbox: str) -> bytes:
    """A notice as the webhook posts it; ``text`` is what chat services show."""
    alert = notice.alert
    whole = {
        "id": notice.id,
        "state": notice.state,
        "alert": alert.id,
        "kind": alert.kind,
        "severity": alert.severity,
        "flow": alert.flow,
        "sandbox": sandbox,
        "title": alert.title,
        "detail": alert.detail,
        "whatToDo": alert.what_to_do,
        "since": from_ms(alert.since_ms),
        "until": from_ms(alert.until_ms) if alert.until_ms is not None else None,
        "text": f"[{alert.severity}] {notice.subject}: {alert.detail}",
    }
    return msgspec.json.encode(whole)


def signature(key: str, at_s: int, body: bytes) -> str:
    """``t=<seconds>,v1=<hexadecimal HMAC-SHA256 of "seconds.body" under the key>``."""
    made = hmac.new(key.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={made}"


class Webhook:
    """Posts JSON, signed where there is a key. A redirection is not followed.

    Args:
        url: http or https.
        key: Signs; "" for no signature.
        sandbox: Named in the body.
        clock: Time of the signature.
    """

    name = "webhook"

    def __init__(self, url: str, key: str, sandbox: str, clock: Clock) -> None:
        self._url, self._key, self._sandbox, self._clock = urlsplit(url), key, sandbox, clock

    def send(self, notice: Notice) -> None:
        """See ``Channel``."""
        body = body_of(notice, self._sandbox)
        headers = {"Content-Type": "application/json", "User-Agent": "headrace", "Headrace-Notice": notice.id}
        if self._key:
            headers[SIGNATURE] = signature(self._key, self._clock.now_ms() // 1000, body)
        try:
            status = self._post(body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise AlertError(channel=self.name, problem=f"{self._url.hostname}: {_words(error)}") from None
        if not 200 <= status < 300:
            raise AlertError(channel=self.name, problem=f"{self._url.hostname} answered {status}")

    def _post(self, body: bytes, headers: Mapping[str, str]) -> int:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=TIMEOUT_S)
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            connection.request("POST", path, body, dict(headers))
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES)
            return answer.status
        finally:
            connection.close()


class Mail:
    """Sends e-mail.

    Args:
        settings: Server, security, account, addresses.
        clock: The date.
    """

    name = "e-mail"

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock

    def send(self, notice: Notice) -> None:
        """See ``Channel``; a flow without addresses of its own tells the settings'."""
        given = self._settings
        to = addresses(given.alert_mail_to) if notice.mail_to is None else list(notice.mail_to)
        if not to:
            return
        try:
            with self._server() as server:
                if given.alert_smtp_user:
                    server.login(given.alert_smtp_user, given.alert_smtp_password.reveal())
                server.send_message(self._message(notice, to))
        except smtplib.SMTPResponseException as error:
            # Its words may repeat what was sent.
            raise AlertError(
                channel=self.name, problem=f"{given.alert_smtp_host} answered {error.smtp_code}"
            ) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            problem = f"{given.alert_smtp_host} refused {len(error.recipients)} addresses with {codes}"
            raise AlertError(channel=self.name, problem=problem) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise AlertError(channel=self.name, problem=f"{given.alert_smtp_host}: {_words(error)}") from None

    def _server(self) -> smtplib.SMTP:
        given = self._settings
        context = ssl.create_default_context()
        if given.alert_smtp_security == "tls":
            return smtplib.SMTP_SSL(
                given.alert_smtp_host, given.alert_smtp_port, timeout=TIMEOUT_S, context=context
            )  # fmt: skip
        server = smtplib.SMTP(given.alert_smtp_host, given.alert_smtp_port, timeout=TIMEOUT_S)
        if given.alert_smtp_security == "starttls":
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server

    def _message(self, notice: Notice, to: list[str]) -> EmailMessage:
        alert = notice.alert
        made = EmailMessage()
        made["Subject"] = f"[headrace {self._settings.sandbox}] {' '.join(notice.subject.split())}"
        made["From"] = self._settings.alert_mail_from
        made["To"] = ", ".join(to)
        made["Date"] = formatdate(self._clock.now_ms() / 1000)
        made["Message-ID"] = f"<{notice.id}@headrace.{self._settings.sandbox}>"
        lines = [
            notice.subject, "", alert.detail, "", alert.what_to_do, "", f"kind: {alert.kind}",
            f"severity: {alert.severity}", f"since: {from_ms(alert.since_ms)}",
        ]  # fmt: skip
        if alert.until_ms is not None:
            lines.append(f"until: {from_ms(alert.until_ms)}")
        if alert.flow:
            lines.append(f"flow: {alert.flow}")
        made.set_content("\n".join(lines) + "\n")
        return made


def addresses(text: str) -> list[str]:
    """Addresses that stand there, by commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


def mistakes(settings: Settings) -> list[Mistake]:
    """What is wrong between the settings of the channels."""
    found = []
    url = settings.alert_webhook_url.reveal()
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        found.append(Mistake("HEADRACE_ALERT_WEBHOOK_URL", "is not the URL of a webhook", "as https://HOST/PATH"))
    if settings.alert_smtp_host and not settings.alert_mail_from:
        found.append(Mistake("HEADRACE_ALERT_MAIL_FROM", "is missing, and HEADRACE_ALERT_SMTP_HOST is set"))
    if settings.alert_smtp_user and settings.alert_smtp_security == "none":
        words = "would send the password in the open"
        found.append(Mistake("HEADRACE_ALERT_SMTP_SECURITY", words, "starttls or tls"))
    return found


def configured(settings: Settings, clock: Clock) -> list[Channel]:
    """The channels that the settings name."""
    found: list[Channel] = [Log()] if settings.alert_log == "yes" else []
    if settings.alert_webhook_url.reveal():
        key = settings.alert_webhook_key.reveal()
        found.append(Webhook(settings.alert_webhook_url.reveal(), key, settings.sandbox, clock))
    if settings.alert_smtp_host:
        found.append(Mail(settings, clock))
    return found


def _words(error: Exception) -> str:
    """What went wrong, without what was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
