"""Sessions, forged requests, headers, and permissions in every control."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from headrace.console import sessions
from headrace.control import links
from headrace.control.organisations import system_caller

from .pages import pages
from .sample import PASSWORD, Sample
from .served import Visitor, application

Visit = Callable[..., Visitor]
SECRET = "wJalr/XUtnFEMI+K7MDENG=bPxRfiCY"


def changes(sample: Sample) -> Iterator[str]:
    """Path of every route that changes something, with ids that are there."""
    mounted = next(route for route in application(sample).routes if isinstance(route, Mount) and route.path == "/ui")
    inner = mounted.app._app  # type: ignore[attr-defined]
    assert isinstance(inner, Starlette)
    known = {
        "flow_id": sample.flows[0], "account_id": sample.accounts[0], "target_id": sample.targets[0],
        "spec_id": "86043421-563b-46ec-8e6c-e23184711bf6", "run_id": "b-1", "audience": "crm-lapsed",
        "tab": "users", "account": "nobody",
    }  # fmt: skip
    for route in inner.routes:
        assert isinstance(route, Route)
        if "POST" in (route.methods or ()):
            yield "/ui" + re.sub(r"{(\w+)}", lambda found: known[found[1]], route.path)


def test_s1_the_session_cookie_is_guarded(installation: Sample, visit: Visit) -> None:
    """No script reads it, no other site sends it along with a change, and over TLS it stays within TLS."""
    visitor = visit(installation, "")
    visitor.csrf = ""
    visitor.client.get("/ui/sign-in")
    answer = visitor.sign_in("admin", installation.first.user.secret.reveal())
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(sessions.SESSION))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    secure = visit(installation, "")
    secure.client.base_url = "https://console.test"
    answer = secure.sign_in("admin", installation.first.user.secret.reveal())
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(sessions.SESSION))
    assert "Secure" in cookie


def test_s2_every_change_refuses_a_forged_request(installation: Sample, visit: Visit) -> None:
    """Without the token, with another session's, or from another origin, no change is made."""
    visitor, other = visit(installation), visit(installation, "viewer")
    paths = list(changes(installation))
    assert len(paths) > 20
    for path in paths:
        for token, headers in (
            ("", {}),
            (other.csrf, {}),
            (visitor.csrf, {"origin": "https://evil.example"}),
            (visitor.csrf, {"sec-fetch-site": "cross-site"}),
        ):
            answer = visitor.client.post(path, data={"csrf": token}, headers=headers)
            assert answer.status_code == 403, (path, token, headers)
            assert "no longer valid" in answer.text


def test_s2_the_token_may_come_as_a_header(installation: Sample, visit: Visit) -> None:
    """Requests of scripts carry it so."""
    visitor = visit(installation)
    answer = visitor.client.post("/ui/preferences", data={"theme": "dark"}, headers={"x-csrf-token": visitor.csrf})
    assert answer.status_code == 303


def test_s3_every_answer_carries_the_policy(installation: Sample, visit: Visit) -> None:
    """Pages, refusals, redirects and static files forbid inline code, outside hosts and framing."""
    visitor = visit(installation)
    paths = [*pages(installation).values(), "/ui/nothing", "/ui/", "/static/style.css", "/static/vendor/htmx.min.js"]
    for path in paths:
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_s3_pages_hold_nothing_inline(installation: Sample, visit: Visit) -> None:
    """No script, style or handler stands in a page, and nothing is fetched from elsewhere."""
    visitor = visit(installation)
    for name, path in pages(installation).items():
        text = visitor.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), name
        assert not re.search(r"<style|\sstyle=|\son\w+=", text), name
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text), name


def test_whoever_is_not_signed_in_is_asked(installation: Sample, visit: Visit) -> None:
    """Every page leads to the form and back to the page; a change does nothing."""
    visitor = visit(installation, "")
    for path in pages(installation).values():
        answer = visitor.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/ui/sign-in")
    assert visitor.post(f"/ui/destinations/{installation.flows[0]}/delete").headers["location"] == "/ui/sign-in"


def test_signing_in_leads_back_but_never_away(installation: Sample, visit: Visit) -> None:
    """The page that was asked for comes next; an address of elsewhere is not followed."""
    visitor = visit(installation, "")
    for wanted, reached in (
        ("/ui/live", "/ui/live"),
        ("//evil.example/", "/ui/catalog"),
        ("https://evil.example/ui/", "/ui/catalog"),
        ("/ui/../../x//y", "/ui/catalog"),
        ("/ui/\\evil.example", "/ui/catalog"),
    ):
        visitor.client.cookies.clear()
        visitor.sign_in("viewer")
        visitor.client.cookies.delete(sessions.SESSION)
        visitor.client.get("/ui/sign-in")
        token = re.findall(r'name="csrf" value="(\w+)"', visitor.get("/ui/sign-in").text)[0]
        answer = visitor.client.post(
            "/ui/sign-in", data={"csrf": token, "login": "viewer", "password": PASSWORD, "next": wanted}
        )
        assert answer.headers["location"] == reached


def test_a_wrong_password_is_not_told_apart(installation: Sample, visit: Visit) -> None:
    """The same words for an unknown user and a wrong password; after five failures all is refused for a while."""
    visitor = visit(installation, "")
    told = {visitor.sign_in(login, "not the password").status_code for login in ("admin", "nobody")}
    assert told == {401}
    for _ in range(3):
        visitor.sign_in("admin", "not the password")
    answer = visitor.sign_in("admin", "not the password")
    assert answer.status_code == 429
    assert "try again in" in answer.text


def test_a_one_time_link_signs_in_once(installation: Sample, visit: Visit) -> None:
    """The first use leads into the console, the second is refused."""
    link = links.create_link(installation.control, system_caller(installation.control), "admin").path.reveal()
    visitor = visit(installation, "")
    assert visitor.get(link).headers["location"] == "/ui/catalog"
    assert visitor.get("/ui/destinations").status_code == 200
    again = visit(installation, "").get(link)
    assert again.status_code == 401
    assert "used before" in again.text


def test_signing_out_ends_the_session(installation: Sample, visit: Visit) -> None:
    """The cookie is gone afterwards."""
    visitor = visit(installation)
    assert visitor.post("/ui/sign-out").headers["location"] == "/ui/sign-in"
    assert visitor.get("/ui/destinations").status_code == 303


CONTROLS = (
    r'href="/ui/connect/', r'/state"', r'href="/ui/activate', r"/delete\"", r'action="/ui/people', r'/test"',
    r"/edit\"", r"/backfill\"", r'href="/ui/dead-letters/replay',
)  # fmt: skip


def test_a_viewer_sees_no_control_and_is_refused_when_forging(installation: Sample, visit: Visit) -> None:
    """Somebody who may only look sees no control for a change, and 403 when sending it all the same."""
    viewer = visit(installation, "viewer")
    for name, path in pages(installation).items():
        text = viewer.get(path).text.partition("<main")[2]
        shown = [control for control in CONTROLS if re.search(control, text)]
        assert not shown, (name, shown)
    for path in changes(installation):
        if path in ("/ui/sign-in", "/ui/sign-out", "/ui/preferences", "/ui/alerts/read"):
            continue
        answer = viewer.post(path, name="x", action="enable", flow=installation.flows[0])
        assert answer.status_code == 403, (path, answer.status_code)
        assert "may not do this" in answer.text


@pytest.mark.parametrize(
    ("login", "path", "status"),
    [
        ("connector", "/ui/connect/86043421-563b-46ec-8e6c-e23184711bf6", 200),
        ("connector", "/ui/activate", 403),
        ("connector", "/ui/profile", 403),
        ("connector", "/ui/live", 403),
        ("connector", "/ui/people", 403),
        ("activator", "/ui/activate", 200),
        ("activator", "/ui/connect/86043421-563b-46ec-8e6c-e23184711bf6", 403),
        ("activator", "/ui/profile", 200),
        ("activator", "/ui/audit", 403),
        ("viewer", "/ui/dead-letters", 403),
        ("viewer", "/ui/monitoring", 200),
    ],
)
def test_each_role_reaches_its_pages(installation: Sample, visit: Visit, login: str, path: str, status: int) -> None:
    """What a role may not, its page refuses, naming what is missing; the bar does not lead there."""
    visitor = visit(installation, login)
    answer = visitor.get(path)
    assert answer.status_code == status
    if status == 403:
        assert re.search(r"lacks the permissions? ", answer.text)
        bar = answer.text.partition("<main")[0]
        assert f'href="{path}"' not in bar


def test_no_secret_is_shown(installation: Sample, visit: Visit) -> None:
    """No page holds the account's secret, not even the one that it is edited on."""
    visitor = visit(installation)
    for name, path in pages(installation).items():
        text = visitor.get(path).text
        assert SECRET not in text, name
        assert "bPxRfiCY" not in text, name


def test_profiles_are_masked(installation: Sample, visit: Visit) -> None:
    """Lookup, dead letters and explanations hide values until they are asked for."""
    visitor = visit(installation)
    for name, hidden in (
        ("profile", "4120"),
        ("dead-letter", "person0@example.com"),
        ("explain", "person0@example.com"),
    ):
        path = pages(installation)[name]
        assert hidden not in visitor.get(path).text.partition("<main")[2], name
        sign = "&" if "?" in path else "?"
        assert hidden in visitor.get(f"{path}{sign}unmask=true").text, name


def test_a_form_that_is_too_large_is_refused(installation: Sample, visit: Visit) -> None:
    """Nothing of it is read."""
    visitor = visit(installation)
    answer = visitor.client.post("/ui/preferences", content=b"a" * (3 << 20))
    assert answer.status_code == 413


def test_where_the_file_rules_nothing_is_changed(installation: Sample, visit: Visit) -> None:
    """Every page says so and offers no change, not even to the administrator; a change is refused with 409."""
    visitor = visit(installation)
    ruled = visit(
        msgspec.structs.replace(installation, control=msgspec.structs.replace(installation.control, read_only=True))
    )
    for name, path in pages(installation).items():
        text = ruled.get(path).text.partition("<main")[2]
        assert "The configuration file rules here" in text, name
        if not name.startswith(("connect", "activate")):  # which nothing leads to
            assert not re.search(r'href="/ui/connect/|/state"|href="/ui/activate|/delete"|/edit"', text), name
    flow = installation.flows[0]
    for path in (f"/ui/destinations/{flow}/state", f"/ui/destinations/{flow}/delete", "/ui/people/users"):
        answer = ruled.post(path, action="disable", name="x", role="viewer")
        assert answer.status_code == 409, path
    assert visitor.get(f"/ui/destinations/{flow}").status_code == 200
