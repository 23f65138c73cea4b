"""Passwords, tokens, and the brake on guessing."""

from __future__ import annotations

from typing import Any

import jwt
import msgspec
import pytest

from headrace.clock import Manual
from headrace.control import accounts, organisations, sessions
from headrace.control.access import Caller, Permission
from headrace.control.resources import Kind, Scope
from headrace.control.service import Control
from headrace.control.sign_in import Claims, FailedSignIns, Tokens
from headrace.control.store import Store
from headrace.errors import UseCaseError
from headrace.settings import Secret

from .plane import ANN, ORG, PASSWORDS, START_MS, started

CLAIMS = Claims(subject="s", kind="client", org="o", generation=1)
KEY = bytes(32)


def code(call: Any) -> str:
    """The error code of a call that is refused."""
    with pytest.raises(UseCaseError) as error:
        call()
    return error.value.error_code


def headers(control: Control, token: Secret, **changed: Any) -> Caller:
    """Who calls with a token, an organisation and a sandbox."""
    given = {"authorization": f"Bearer {token.reveal()}", "api_key": None, "org": ORG, "sandbox": None, **changed}
    return sessions.identify(control, **given)


def test_passwords_match_their_hash_alone() -> None:
    """Salted, so that two hashes differ; nobody's hash matches nothing."""
    one, two = PASSWORDS.hash(Secret("right")), PASSWORDS.hash(Secret("right"))
    assert one != two
    assert "right" not in one
    assert PASSWORDS.matches(one, Secret("right"))
    assert not PASSWORDS.matches(one, Secret("wrong"))
    assert not PASSWORDS.matches(None, Secret("nobody"))
    assert not PASSWORDS.matches("no hash", Secret("right"))


def test_tokens_say_what_was_signed_until_they_expire() -> None:
    """The clock that was handed in decides, to the second."""
    clock = Manual(START_MS)
    tokens = Tokens(KEY, clock, life_s=60)
    token = tokens.issue(CLAIMS)
    clock.advance(59)
    assert tokens.read(token) == CLAIMS
    clock.advance(1)
    assert code(lambda: tokens.read(token)) == "401013-401"


def test_tokens_of_others_are_refused() -> None:
    """Another key, another algorithm, none at all, another issuer, missing claims, and plain rubbish."""
    clock = Manual(START_MS)
    tokens = Tokens(KEY, clock)
    good = tokens.issue(CLAIMS)
    content = jwt.decode(good, options={"verify_signature": False})
    wrong = [
        Tokens(bytes(range(32)), clock).issue(CLAIMS),
        jwt.encode(content, "", algorithm="none"),
        jwt.encode(content, KEY * 2, algorithm="HS512"),
        jwt.encode({**content, "iss": "other"}, KEY, algorithm="HS256"),
        jwt.encode({name: value for name, value in content.items() if name != "gen"}, KEY, algorithm="HS256"),
        jwt.encode({**content, "exp": "never"}, KEY, algorithm="HS256"),
        good[:-4] + "AAAA",
        "x.y.z",
        "é",
        "",
    ]
    for token in wrong:
        assert code(lambda token=token: tokens.read(token)) == "401013-401"


def test_tokens_outlive_a_rotation_of_the_key() -> None:
    """With the older key at hand they are read; new ones are signed under the new key."""
    clock = Manual(START_MS)
    old = Tokens(KEY, clock).issue(CLAIMS)
    rotated = Tokens(bytes(range(32)), clock, older=(KEY,))
    assert rotated.read(old) == CLAIMS
    assert Tokens(bytes(range(32)), clock).read(rotated.issue(CLAIMS)) == CLAIMS


def test_guessing_is_slowed_down() -> None:
    """After five failures within the window all is refused, and the wait is told; it ends by itself."""
    clock = Manual(START_MS)
    brake = FailedSignIns(clock, most=5, window_s=300)
    for _ in range(5):
        brake.admit("name", "address")
        brake.failed("name", "address")
        clock.advance(10)
    with pytest.raises(UseCaseError) as error:
        brake.admit("other", "address")
    assert error.value.error_code == "3005-429"
    assert error.value.wait_s == 250
    clock.advance(249)
    assert code(lambda: brake.admit("name")) == "3005-429"
    clock.advance(1)
    brake.admit("name", "address")
    brake.admit("other")


def test_success_clears_the_name_and_not_the_address() -> None:
    """Signing in to one's own account does not buy more guesses at another."""
    brake = FailedSignIns(Manual(START_MS), most=2)
    for _ in range(2):
        brake.failed("name", "address")
    brake.succeeded("name")
    brake.admit("name")
    assert code(lambda: brake.admit("address")) == "3005-429"


def test_the_brake_remembers_a_bounded_number_of_names() -> None:
    """The longest untouched is forgotten first."""
    brake = FailedSignIns(Manual(START_MS), most=1, names=2)
    for name in ("a", "b", "c"):
        brake.failed(name)
    brake.admit("a")
    assert code(lambda: brake.admit("b")) == code(lambda: brake.admit("c")) == "3005-429"


def test_a_client_gets_a_token_that_identifies_it(store: Store) -> None:
    """The first start's client signs in and is found to have every permission, in the sandbox it names."""
    control, first = started(store)
    token = sessions.sign_in_client(control, first.client.id, first.client.secret, "127.0.0.1")
    assert token.expires_in_s == 86_399
    caller = headers(control, token.text, api_key=first.client.id)
    assert caller.scope == Scope(ORG, "prod")
    assert caller.permissions == frozenset(Permission)
    assert (caller.subject, caller.client, caller.kind) == (first.client.id, first.client.id, "client")
    assert caller.sandbox_id
    organisations.create_sandbox(control, caller, {"name": "dev"})
    assert headers(control, token.text, api_key=first.client.id, sandbox="dev").scope == Scope(ORG, "dev")


def test_a_user_signs_in_to_the_console(store: Store) -> None:
    """The login is in any case; the console needs no API key, the API takes any client's; it enters the audit log."""
    control, first = started(store)
    token = sessions.sign_in_user(control, " ADMIN ", first.user.secret)
    assert headers(control, token.text, console=True).client == "console"
    assert headers(control, token.text, api_key=first.client.id).kind == "user"
    assert code(lambda: headers(control, token.text, api_key="x")) == "403003-403"


def test_wrong_headers_are_refused_in_their_order(store: Store) -> None:
    """Each missing or wrong header has its code."""
    control, first = started(store)
    text = sessions.sign_in_client(control, first.client.id, first.client.secret).text
    right = {"api_key": first.client.id}
    for changed, expected in [
        ({"authorization": None}, "403010-403"),
        ({"authorization": "Bearer "}, "403010-403"),
        ({"authorization": "Basic abc"}, "401013-401"),
        ({"authorization": "Bearer abc"}, "401013-401"),
        ({"api_key": None}, "403000-403"),
        ({"api_key": first.user.id}, "403003-403"),
        ({"org": None}, "2001-401"),
        ({"org": "OTHER@Org"}, "2000-401"),
        ({"sandbox_id": "x"}, "2110-400"),
        ({"sandbox": "*"}, "2111-403"),
        ({"sandbox": "dev"}, "2100-404"),
        ({"sandbox": "\x00"}, "2100-404"),
    ]:
        assert code(lambda changed=changed: headers(control, text, **right | changed)) == expected, changed


def test_wrong_secrets_are_refused_alike_and_slowed_down(store: Store) -> None:
    """No such account, a wrong secret and a disabled account look the same; then even the right one has to wait."""
    control, first = started(store)
    accounts.create_user(control, ANN, {"name": "Bob", "roles": ["viewer"], "password": "long enough 1"})
    bob = next(each for each in accounts.list_accounts(control, ANN, Kind.USER) if each["name"] == "Bob")
    accounts.update_account(control, ANN, Kind.USER, bob["id"], {"state": "disabled"})
    errors = []
    for login, secret in [("nobody", "x"), ("admin", "x"), ("bob", "long enough 1"), ("\x00", "x")]:
        with pytest.raises(UseCaseError) as error:
            sessions.sign_in_user(control, login, Secret(secret))
        errors.append((error.value.error_code, str(error.value)))
    assert set(errors) == {("3004-401", "the name or the secret is wrong")}
    for _ in range(4):
        code(lambda: sessions.sign_in_user(control, "admin", Secret("x")))
    assert code(lambda: sessions.sign_in_user(control, "admin", first.user.secret)) == "3005-429"


def test_a_token_ends_with_its_account_and_its_secret(store: Store) -> None:
    """A new secret, disabling (also when enabled again) and deleting each end the tokens of before at once."""
    control, first = started(store)
    made = accounts.create_client(control, ANN, {"name": "Script", "roles": ["viewer"]})
    by = {"api_key": made.id}
    token = sessions.sign_in_client(control, made.id, made.secret).text
    assert headers(control, token, **by).permissions < frozenset(Permission)
    renewed = accounts.new_secret(control, ANN, Kind.CLIENT, made.id)
    assert code(lambda: headers(control, token, **by)) == "401013-401"
    assert code(lambda: sessions.sign_in_client(control, made.id, made.secret)) == "3004-401"
    token = sessions.sign_in_client(control, made.id, renewed.secret).text
    accounts.update_account(control, ANN, Kind.CLIENT, made.id, {"state": "disabled"})
    accounts.update_account(control, ANN, Kind.CLIENT, made.id, {"state": "enabled"})
    assert code(lambda: headers(control, token, **by)) == "401013-401"
    token = sessions.sign_in_client(control, made.id, renewed.secret).text
    accounts.delete_account(control, ANN, Kind.CLIENT, made.id)
    assert code(lambda: headers(control, token, **by)) == "401013-401"
    assert first.client.id != made.id


def test_a_change_of_roles_counts_at_once(store: Store) -> None:
    """Permissions are read with each call, not from the token."""
    control, _ = started(store)
    made = accounts.create_client(control, ANN, {"name": "Script", "roles": ["viewer"]})
    token = sessions.sign_in_client(control, made.id, made.secret).text
    accounts.update_account(control, ANN, Kind.CLIENT, made.id, {"roles": ["activator", "audience-manager"]})
    found = headers(control, token, api_key=made.id).permissions
    assert {Permission.ACTIVATE_DESTINATIONS, Permission.MANAGE_SEGMENTS} <= found
    assert Permission.MANAGE_DESTINATIONS not in found


def test_the_first_start_happens_once(store: Store) -> None:
    """A second start makes nothing; secrets and passwords are random and kept as hashes."""
    control, first = started(store)
    assert organisations.first_start(control, org=ORG) is None
    assert first.user.secret != first.client.secret
    with control.store.read() as transaction:
        for kind, account in ((Kind.USER, first.user), (Kind.CLIENT, first.client)):
            kept = transaction.get(kind, Scope(ORG), account.id)
            assert kept is not None
            assert account.secret.reveal() not in msgspec.json.encode(kept).decode()
    assert organisations.system_caller(control).scope == Scope(ORG, "prod")
    assert code(lambda: organisations.system_caller(control, "dev")) == "2100-404"
    assert code(lambda: organisations.system_caller(control, org="other")) == "1101-404"


def test_accounts_are_checked(store: Store) -> None:
    """Names are taken once, roles exist, passwords are long enough, states are known."""
    control, first = started(store)
    wrong: list[tuple[Any, str]] = [
        (lambda: accounts.create_user(control, ANN, {"name": "Admin", "roles": []}), "3003-409"),
        (lambda: accounts.create_user(control, ANN, {"name": " ", "roles": []}), "3000-400"),
        (lambda: accounts.create_user(control, ANN, {"name": "x", "roles": ["none"]}), "3000-400"),
        (lambda: accounts.create_user(control, ANN, {"name": "x"}), "3000-400"),
        (lambda: accounts.create_user(control, ANN, {"name": "x", "roles": [], "password": "short"}), "3000-400"),
        (lambda: accounts.create_user(control, ANN, None), "1405-400"),
        (lambda: accounts.create_client(control, ANN, {"name": "x", "roles": [], "secret": "s"}), "3000-400"),
        (lambda: accounts.create_role(control, ANN, {"name": "viewer", "permissions": []}), "3003-409"),
        (lambda: accounts.create_role(control, ANN, {"name": "x", "permissions": ["Fly"]}), "3000-400"),
        (lambda: accounts.update_account(control, ANN, Kind.USER, first.user.id, {"state": "asleep"}), "3000-400"),
        (lambda: accounts.update_account(control, ANN, Kind.USER, "none", {"state": "enabled"}), "1101-404"),
        (lambda: accounts.update_account(control, ANN, Kind.USER, first.user.id, {"roles": []}, '"x"'), "1404-412"),
        (lambda: organisations.create_sandbox(control, ANN, {"name": "prod"}), "3003-409"),
        (lambda: organisations.create_sandbox(control, ANN, {"name": "Dev"}), "3000-400"),
        (lambda: organisations.create_sandbox(control, ANN, {"name": "dev", "type": "x"}), "3000-400"),
        (lambda: organisations.get_sandbox(control, ANN, "dev"), "2100-404"),
    ]
    for call, expected in wrong:
        assert code(call) == expected


def test_somebody_can_always_manage_access(store: Store) -> None:
    """The last account with Manage Access is neither removed, disabled, nor robbed of its role; roles in use stay."""
    control, first = started(store)
    accounts.delete_account(control, ANN, Kind.CLIENT, first.client.id)
    administrator = next(
        each for each in accounts.list_accounts(control, ANN, Kind.ROLE) if each["name"] == "administrator"
    )
    for call in (
        lambda: accounts.delete_account(control, ANN, Kind.USER, first.user.id),
        lambda: accounts.update_account(control, ANN, Kind.USER, first.user.id, {"state": "disabled"}),
        lambda: accounts.update_account(control, ANN, Kind.USER, first.user.id, {"roles": ["viewer"]}),
        lambda: accounts.update_account(control, ANN, Kind.ROLE, administrator["id"], {"permissions": []}),
        lambda: accounts.delete_account(control, ANN, Kind.ROLE, administrator["id"]),
    ):
        assert code(call) == "3009-409"
    assert sessions.sign_in_user(control, "admin", first.user.secret).expires_in_s


def test_sandboxes_are_listed(store: Store) -> None:
    """The first one is the default; others are added."""
    control, _ = started(store)
    organisations.create_sandbox(control, ANN, {"name": "dev", "title": "Development"})
    listed = organisations.list_sandboxes(control, ANN)
    assert {each["name"]: (each["isDefault"], each["type"], each["state"]) for each in listed} == {
        "prod": (True, "production", "active"),
        "dev": (False, "development", "active"),
    }
    assert organisations.get_sandbox(control, ANN, "dev")["title"] == "Development"
