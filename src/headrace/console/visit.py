"""One request of somebody signed in, and how a page answers it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from headrace.control import access, sessions
from headrace.control.access import Caller, Permission
from headrace.control.problems import problem
from headrace.control.resources import Kind, Scope
from headrace.control.runtime import Runtime
from headrace.control.service import Control
from headrace.errors import UseCaseError

from . import engine, rendering
from . import sessions as console_sessions
from .mistakes import told
from .navigation import SECTIONS
from .texts import COOKIE as LANGUAGE
from .texts import Texts, chosen, languages

THEME: Final = "headrace_theme"
MOST_FIELDS: Final = 5_000
MOST_FORM_BYTES: Final = 2 * 1024 * 1024


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """What every page is made of.

    Attributes:
        control: The control plane.
        runtime: The engine.
        templates: The templates.
    """

    control: Control
    runtime: Runtime
    templates: rendering.Templates


class Visit:
    """One request, and who makes it.

    Attributes:
        console: The parts.
        request: The request.
        caller: Who; None before signing in.
        login: Their name on screen.
        t: The texts.
        form: Fields of a request that changes something; empty otherwise.
        secret: What the token against forged requests is made of.
    """

    def __init__(self, console: Console, request: Request, *, caller: Caller | None, login: str, secret: str) -> None:
        self.console = console
        self.request = request
        self._caller = caller
        self.login = login
        self.secret = secret
        self.form = FormData()
        self.t = Texts(chosen(request.cookies.get(LANGUAGE), request.headers.get("accept-language")))

    @property
    def control(self) -> Control:
        """The control plane."""
        return self.console.control

    @property
    def runtime(self) -> Runtime:
        """The engine."""
        return self.console.runtime

    @property
    def caller(self) -> Caller:
        """Who makes the request."""
        assert self._caller is not None
        return self._caller

    def path(self, name: str) -> str:
        """A part of the request's path."""
        return str(self.request.path_params[name])

    def query(self, name: str, otherwise: str = "") -> str:
        """A parameter of the URL."""
        return self.request.query_params.get(name, otherwise).strip()

    def field(self, name: str, otherwise: str = "") -> str:
        """A field of the form."""
        value = self.form.get(name, otherwise)
        return value.strip() if isinstance(value, str) else otherwise

    def typed(self, name: str) -> str:
        """A field exactly as it was typed: a password may begin with a space."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""

    def fields(self, name: str) -> list[str]:
        """All fields of a name, in order."""
        return [each for each in self.form.getlist(name) if isinstance(each, str)]

    def may(self, *permissions: Permission) -> bool:
        """True when the caller has all of these."""
        return self._caller is not None and self._caller.permissions.issuperset(permissions)

    def ask(self, question: str, **arguments: Any) -> engine.Answer:
        """Ask the engine; see ``engine.ask``."""
        return engine.ask(self.control, self.runtime, self.caller, question, **arguments)

    def ago(self, at_ms: float | None) -> str:
        """How long ago a time was, or how far away it is."""
        if not at_ms:
            return "—"
        now_ms = self.control.clock.now_ms()
        unit, count = rendering.span(at_ms, now_ms)
        if unit == "second" and count < 5:
            return self.t("time.now")
        words = self.t(f"time.{unit}", count=count)
        return self.t("time.in" if at_ms > now_ms else "time.ago", span=words)

    def page(self, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """A page from a template."""
        shown = self.console.templates.get(template, self.t).render(**self._base(), **context)
        return HTMLResponse(shown, status_code=status)

    def redirect(self, path: str) -> Response:
        """Go on at another page, with GET; requests of scripts are led there too."""
        if self.request.headers.get("hx-request"):
            return Response(status_code=204, headers={"HX-Redirect": path})
        return RedirectResponse(path, status_code=303)

    def _base(self) -> dict[str, Any]:
        caller = self._caller
        path = self.request.url.path
        return {
            "t": self.t,
            "ago": self.ago,
            "iso": rendering.iso,
            "visit": self,
            "caller": caller,
            "can": self.can(),
            "csrf": console_sessions.csrf_token(self.secret),
            "language": self.t.language,
            "languages": languages(),
            "theme": self.request.cookies.get(THEME, ""),
            "sections": [
                (key, [each for each in links if self.may(*each.needs)]) for key, links in SECTIONS if caller
            ],
            "path": path,
            "here": path + (f"?{self.request.url.query}" if self.request.url.query else ""),
            "base_url": str(self.request.base_url).rstrip("/"),
            "read_only": self.control.read_only,
        }

    def can(self) -> dict[str, bool]:
        """What controls to show; the use cases decide all the same."""
        held = self._caller.permissions if self._caller else frozenset()
        writes = not self.control.read_only
        return {
            "connect": writes and held.issuperset(access.CONNECT),
            "steer": held.issuperset(access.CONNECT),
            "activate": writes and held.issuperset(access.ACTIVATE),
            "define": writes and held.issuperset(access.DEFINE),
            "schema": writes and Permission.MANAGE_PROFILES in held,
            "manage_access": writes and Permission.MANAGE_ACCESS in held,
            "see_destinations": Permission.VIEW_DESTINATIONS in held,
            "see_profiles": Permission.VIEW_PROFILES in held,
            "see_segments": Permission.VIEW_SEGMENTS in held,
            "forget": held.issuperset((Permission.VIEW_PROFILES, Permission.MANAGE_PROFILES)),
        }


Page = Callable[[Visit], Response | Awaitable[Response]]


def page(console: Console, path: str, show: Page, *, change: bool = False, public: bool = False) -> Route:
    """A route of the console.

    Args:
        console: The parts.
        path: Below ``/ui``.
        show: Answers; an ordinary function runs in a thread, since use cases block.
        change: It changes something: POST, with the token against forged requests.
        public: Also for whoever is not signed in.
    """

    async def endpoint(request: Request) -> Response:
        visit = await run_in_threadpool(visit_of, console, request)
        if visit._caller is None and not public:
            return _to_sign_in(visit)
        if change:
            length = request.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MOST_FORM_BYTES:
                return visit.page("refused.html", status=413, title=visit.t("error.large.title"),
                                  words=visit.t("error.large.words"), mistakes=(), code="")  # fmt: skip
            visit.form = await request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=MOST_FORM_BYTES)
            given = request.headers.get(console_sessions.CSRF_HEADER) or visit.field(console_sessions.CSRF_FIELD)
            if console_sessions.forged(request, visit.secret, given):
                return visit.page("refused.html", status=403, title=visit.t("error.forged.title"),
                                  words=visit.t("error.forged.words"), mistakes=(), code="")  # fmt: skip
        try:
            if inspect.iscoroutinefunction(show):
                answer = await show(visit)
            else:
                answer = await run_in_threadpool(show, visit)
        except UseCaseError as error:
            return refused(visit, error)
        assert isinstance(answer, Response)
        return answer

    return Route(path, endpoint, methods=["POST"] if change else ["GET"])


def visit_of(console: Console, request: Request) -> Visit:
    """Who makes a request; somebody whose session has ended is nobody. Blocks."""
    token = request.cookies.get(console_sessions.SESSION, "")
    # A sandbox that was chosen once may be gone: then the first one is shown.
    for sandbox in (request.cookies.get(console_sessions.SANDBOX), None) if token else ():
        try:
            caller = sessions.identify(
                console.control,
                authorization=f"Bearer {token}",
                api_key=None,
                org=console.control.tokens.read(token).org,
                sandbox=sandbox,
                console=True,
            )
        except UseCaseError:
            continue
        return Visit(console, request, caller=caller, login=_login(console, caller), secret=token)
    return Visit(console, request, caller=None, login="", secret=console_sessions.visitor(request))


def _login(console: Console, caller: Caller) -> str:
    kind = Kind.CLIENT if caller.kind == "client" else Kind.USER
    with console.control.store.read() as transaction:
        account = transaction.get(kind, Scope(caller.scope.org), caller.subject)
    return account.name if account else caller.subject


def _to_sign_in(visit: Visit) -> Response:
    here = visit.request.url.path if visit.request.method == "GET" else ""
    query = f"?next={here}" if console_sessions.local_path(here, "") and here != "/ui/" else ""
    return visit.redirect(f"/ui/sign-in{query}")


def without_place(warning: str) -> str:
    """A warning without where in the JSON it stands: nobody sees that document in the console."""
    place, colon, words = warning.partition(": ")
    return words if colon and " " not in place else warning


def refused(visit: Visit, error: UseCaseError) -> Response:
    """The page that says why a use case was refused."""
    said = told(visit.t, error)
    return visit.page(
        "refused.html", status=error.status, title=said.title, words=said.problem or visit.t("form.refused"),
        mistakes=said.mistakes, code=error.error_code,
    )  # fmt: skip


__all__ = [
    "Console",
    "Page",
    "Visit",
    "page",
    "problem",
    "refused",
    "visit_of",
    "without_place",
]
