"""Who is signed in: the cookies, the tokens against forged requests, and what each answer carries for the browser.

Holds always (tests/console/test_security.py):
    S1  The session cookie is HttpOnly, SameSite and, over TLS, Secure.
    S2  A request that changes something carries a token that only a page of ours could have shown, and does not come
        from another origin.
    S3  Every answer forbids inline scripts and styles, outside hosts, and framing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import urllib.parse
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SESSION: Final = "headrace_session"
VISITOR: Final = "headrace_visitor"
"""Random text of somebody who has not signed in yet: what the token of the sign-in form is made of."""
SANDBOX: Final = "headrace_sandbox"
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
YEAR_S: Final = 31_536_000

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guarded:
    """Puts the headers of S3 on every answer; pages are not kept by caches, static files are asked for again.

    Args:
        app: Answers.
        cache: ``Cache-Control`` of its answers.
    """

    def __init__(self, app: ASGIApp, cache: str = "no-store") -> None:
        self._app = app
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers["cache-control"] = self._cache
            await send(message)

        await self._app(scope, receive, guarded)


def csrf_token(secret: str) -> str:
    """The token of the forms that a session, or a visitor, is shown; tells nothing of the cookie."""
    return hmac.new(secret.encode(), b"headrace console form", hashlib.sha256).hexdigest()


def forged(request: Request, secret: str, given: str) -> bool:
    """True for a request that no page of ours sent (S2)."""
    return not secret or _foreign(request) or not hmac.compare_digest(given.encode(), csrf_token(secret).encode())


def _foreign(request: Request) -> bool:
    headers: Headers = request.headers
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urllib.parse.urlsplit(origin).netloc != headers.get("host", "")


def set_cookie(response: Response, request: Request, name: str, value: str, *, max_age_s: int | None = None) -> None:
    """Set a cookie of the console that no script can read (S1)."""
    response.set_cookie(
        name, value, max_age=max_age_s, path="/", httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )


def visitor(request: Request) -> str:
    """The random text of a visitor; a new one when there is none."""
    known = request.cookies.get(VISITOR, "")
    return known if 20 <= len(known) <= 100 else secrets.token_urlsafe(24)


def local_path(text: str, otherwise: str) -> str:
    """A path of the console that a form or a link named; anything else would lead elsewhere."""
    return text if text.startswith("/ui/") and "\\" not in text and "//" not in text else otherwise
