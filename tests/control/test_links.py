"""One-time links for the console."""

from __future__ import annotations

import msgspec
import pytest

from headrace.clock import Manual
from headrace.control import accounts, activity, links, sessions
from headrace.control.access import Permission
from headrace.control.resources import Kind, Scope
from headrace.control.store import Query, Store
from headrace.errors import UseCaseError

from .plane import ANN, ORG, START_MS, caller, started


def token_of(link: links.Link) -> str:
    """The token of a link's path."""
    return link.path.reveal().removeprefix("/ui/sign-in/")


def test_a_link_signs_in_once(store: Store) -> None:
    """The first use gives the user's token, the second is refused; the audit log has the sign-in alone."""
    control, first = started(store)
    link = links.create_link(control, ANN, "Admin")
    found = links.redeem_link(control, token_of(link), "10.0.0.1")
    who = sessions.identify(
        control, authorization=f"Bearer {found.text.reveal()}", api_key=None, org=ORG, sandbox=None, console=True
    )
    assert who.subject == first.user.id
    with pytest.raises(UseCaseError, match="was used before") as error:
        links.redeem_link(control, token_of(link))
    assert error.value.error_code == "3004-401"
    lines = activity.list_activity(control, ANN, organisation=True).items
    assert [each["action"] for each in lines[:2]] == ["sign-in", "create-sign-in-link"]
    with control.store.read() as transaction:
        kept = [transaction.find(Query(kind=each, scope=first_scope())) for each in Kind]
    assert token_of(link) not in str(lines) + str(kept)


def first_scope() -> Scope:
    """Where the links lie."""
    return ANN.scope._replace(sandbox="")


def test_a_link_expires(store: Store) -> None:
    """After its time it is refused, and the next one sweeps it away."""
    clock = Manual(START_MS)
    control, _ = started(store, clock=clock)
    link = links.create_link(control, ANN, "admin", life_s=60)
    clock.advance(60)
    late = links.create_link(control, ANN, "admin")
    with control.store.read() as transaction:
        assert transaction.count(Query(kind=Kind.SIGN_IN_LINK, scope=ANN.scope._replace(sandbox=""))) == 1
    with pytest.raises(UseCaseError):
        links.redeem_link(control, token_of(link))
    assert links.redeem_link(control, token_of(late)).expires_in_s > 0


def test_links_need_a_user_and_manage_access() -> None:
    """For nobody, for a disabled user, and by somebody without the permission no link is made."""
    control, first = started()
    with pytest.raises(UseCaseError, match="no enabled user"):
        links.create_link(control, ANN, "nobody")
    with pytest.raises(UseCaseError, match="Manage Access"):
        links.create_link(control, caller([Permission.VIEW_DESTINATIONS]), "admin")
    link = links.create_link(control, ANN, "admin")
    accounts.update_account(control, ANN, Kind.USER, first.user.id, {"state": "disabled"})
    with pytest.raises(UseCaseError):
        links.create_link(control, ANN, "admin")
    with pytest.raises(UseCaseError):
        links.redeem_link(control, token_of(link))


def test_guessing_links_is_slowed_down() -> None:
    """After five failures from one address all is refused for a while."""
    control, _ = started()
    for _ in range(5):
        with pytest.raises(UseCaseError):
            links.redeem_link(control, "x", "10.0.0.1")
    link = links.create_link(msgspec.structs.replace(control), ANN, "admin")
    with pytest.raises(UseCaseError) as error:
        links.redeem_link(control, token_of(link), "10.0.0.1")
    assert error.value.error_code == "3005-429"
    assert links.redeem_link(control, token_of(link), "10.0.0.2").expires_in_s > 0
