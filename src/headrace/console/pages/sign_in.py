"""Signing in and out, and what a visitor chooses about the looks: language, theme, sandbox."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import sessions as cookies
from headrace.console.texts import COOKIE as LANGUAGE
from headrace.console.texts import languages
from headrace.console.visit import THEME, Console, Visit, page
from headrace.control import links, sessions
from headrace.errors import UseCaseError
from headrace.settings import Secret

_THEMES: Final = ("light", "dark", "auto")
_HOME: Final = "/ui/catalog"


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/", home),
        page(console, "/sign-in", ask_who, public=True),
        page(console, "/sign-in", sign_in, change=True, public=True),
        page(console, "/sign-in/{token}", by_link, public=True),
        page(console, "/sign-out", sign_out, change=True),
        page(console, "/preferences", choose, change=True, public=True),
    ]


def home(visit: Visit) -> Response:
    """Where one begins."""
    return visit.redirect(_HOME)


def ask_who(visit: Visit) -> Response:
    """The form."""
    shown = visit.page("sign_in.html", login="", problem="", next=cookies.local_path(visit.query("next"), ""))
    cookies.set_cookie(shown, visit.request, cookies.VISITOR, visit.secret)
    return shown


def sign_in(visit: Visit) -> Response:
    """Take name and password; the same words whatever is wrong."""
    login, address = visit.field("login"), visit.request.client.host if visit.request.client else ""
    wanted = cookies.local_path(visit.field("next"), _HOME)
    try:
        token = sessions.sign_in_user(visit.control, login, Secret(visit.typed("password")), address)
    except UseCaseError as error:
        return visit.page("sign_in.html", status=error.status, login=login, problem=error.problem, next=wanted)
    return _session(visit.redirect(wanted), visit.request, token)


def by_link(visit: Visit) -> Response:
    """Sign in by a one-time link."""
    address = visit.request.client.host if visit.request.client else ""
    try:
        token = links.redeem_link(visit.control, visit.path("token"), address)
    except UseCaseError as error:
        return visit.page("sign_in.html", status=error.status, login="", problem=error.problem, next="")
    return _session(visit.redirect(_HOME), visit.request, token)


def sign_out(visit: Visit) -> Response:
    """Forget the session."""
    answer = visit.redirect("/ui/sign-in")
    answer.delete_cookie(cookies.SESSION, path="/")
    return answer


def choose(visit: Visit) -> Response:
    """Keep a choice of language, theme or sandbox."""
    answer = visit.redirect(cookies.local_path(visit.field("next"), _HOME))
    language, theme, sandbox = visit.field("language"), visit.field("theme"), visit.field("sandbox")
    for name, value, allowed in (
        (LANGUAGE, language, language in languages()),
        (THEME, theme, theme in _THEMES),
        (cookies.SANDBOX, sandbox, 0 < len(sandbox) <= 64 and sandbox.isascii()),
    ):
        if allowed:
            cookies.set_cookie(answer, visit.request, name, value, max_age_s=cookies.YEAR_S)
    return answer


def _session(answer: Response, request: Request, token: sessions.Token) -> Response:
    cookies.set_cookie(answer, request, cookies.SESSION, token.text.reveal(), max_age_s=token.expires_in_s)
    answer.delete_cookie(cookies.VISITOR, path="/")
    return answer
