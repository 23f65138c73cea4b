"""The control plane's parts, made of the settings."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from headrace import settings
from headrace.api.limits import Limits
from headrace.bootstrap.control import (
    build_control,
    database_url,
    open_store,
    opened,
    organisation_of,
    remember_organisation,
    sealing_keys,
    start_first,
)
from headrace.bootstrap.control_process import limits
from headrace.control.memory import MemoryStore
from headrace.control.sign_in import Claims
from headrace.errors import ConfigurationError, RefusedError, StateError
from headrace.settings import Settings

from .installed import installed

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = bytes(range(1, 33)).hex()


def loaded(data: Path, **given: str) -> Settings:
    """Settings of a data folder."""
    return settings.load({"HOME": str(data), "HEADRACE_DATA_DIR": str(data), **given})


def test_the_key_of_the_folder_is_made_once(tmp_path: Path) -> None:
    """Without a key one is made for its owner alone, and is the same from then on."""
    first = sealing_keys(loaded(tmp_path / "new"))
    assert sealing_keys(loaded(tmp_path / "new")) == first
    file = tmp_path / "new" / "sealing.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["sealing.key"]
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="may be read by others"):
        sealing_keys(loaded(tmp_path / "new"))


def test_keys_come_from_a_setting_a_file_or_a_command(tmp_path: Path) -> None:
    """Each way gives its keys, in their order; two ways at once are refused."""
    file = tmp_path / "keys"
    file.write_text(f"{OTHER}\n{KEY}\n")
    file.chmod(0o600)
    one, two = bytes(range(32)), bytes(range(1, 33))
    assert sealing_keys(loaded(tmp_path, HEADRACE_SEALING_KEY=KEY)) == [one]
    assert sealing_keys(loaded(tmp_path, HEADRACE_SEALING_KEY_FILE=str(file))) == [two, one]
    assert sealing_keys(loaded(tmp_path, HEADRACE_SEALING_KEY_COMMAND=f"cat {file}")) == [two, one]
    with pytest.raises(ConfigurationError, match="together with another way"):
        sealing_keys(loaded(tmp_path, HEADRACE_SEALING_KEY=KEY, HEADRACE_SEALING_KEY_FILE=str(file)))


def test_tokens_outlive_a_rotated_sealing_key(tmp_path: Path) -> None:
    """A token that was signed under the former first key is read; with a token key of its own, too."""
    claims = Claims(subject="s", kind="client", org="o", generation=1)
    before = build_control(loaded(tmp_path, HEADRACE_SEALING_KEY=KEY), MemoryStore())
    token = before.tokens.issue(claims)
    after = build_control(loaded(tmp_path, HEADRACE_SEALING_KEY=f"{OTHER}\n{KEY}"), MemoryStore())
    assert after.tokens.read(token) == claims
    own = build_control(loaded(tmp_path, HEADRACE_SEALING_KEY=OTHER, HEADRACE_TOKEN_KEY="k"), MemoryStore())
    again = build_control(loaded(tmp_path, HEADRACE_SEALING_KEY=KEY, HEADRACE_TOKEN_KEY="k"), MemoryStore())
    assert again.tokens.read(own.tokens.issue(claims)) == claims


def test_the_limits_of_the_api_are_settings(tmp_path: Path) -> None:
    """By default those that the API states; each can be another."""
    assert limits(loaded(tmp_path)) == Limits()
    given = {
        "HEADRACE_API_BODY_BYTES": "128KiB", "HEADRACE_API_BODY_TIMEOUT_S": "5", "HEADRACE_API_REQUESTS_PER_S": "0",
        "HEADRACE_API_REQUESTS_BURST": "7", "HEADRACE_API_SIGN_INS_PER_S": "0.5", "HEADRACE_API_SIGN_INS_BURST": "3",
    }  # fmt: skip
    assert limits(loaded(tmp_path, **given)) == Limits(
        body_bytes=131_072, body_timeout_s=5, requests_per_s=0, burst=7, sign_ins_per_s=0.5, sign_in_burst=3
    )
    with pytest.raises(ConfigurationError, match="HEADRACE_API_BODY_BYTES"):
        loaded(tmp_path, HEADRACE_API_BODY_BYTES="1")


def test_the_first_start_is_made_once(tmp_path: Path) -> None:
    """Organisation id and sandbox are the settings'; a second start makes nothing."""
    found, control, first = installed(tmp_path, HEADRACE_ORGANISATION_ID="ACME@HeadraceOrg", HEADRACE_SANDBOX="dev")
    assert first.org == "ACME@HeadraceOrg"
    assert start_first(control, found) is None
    assert organisation_of(control.store, found) == first.org
    with opened(found) as (_, caller):
        assert (caller.scope.org, caller.scope.sandbox) == (first.org, "dev")


def test_another_database_is_not_taken_for_one_without_flows(tmp_path: Path) -> None:
    """Once a folder belongs to an organisation, an empty database and another organisation's are refused."""
    found, control, first = installed(tmp_path)
    remember_organisation(found, first.org)
    assert organisation_of(control.store, found) == first.org
    empty = build_control(found, MemoryStore())
    with pytest.raises(StateError, match="no organisation yet"):
        organisation_of(empty.store, found)
    with pytest.raises(RefusedError, match="is empty, but the data folder"):
        start_first(empty, found)
    other = build_control(loaded(tmp_path / "other"), MemoryStore())
    start_first(other, loaded(tmp_path / "other"))
    with pytest.raises(RefusedError, match="would count as deleted"):
        organisation_of(other.store, found)


def test_what_connections_may_name_is_a_setting(tmp_path: Path) -> None:
    """Hosts by commas; the machine's own credentials only where they are allowed."""
    reach = build_control(loaded(tmp_path, HEADRACE_CONNECTION_HOSTS="localhost, *.example.com"), MemoryStore()).reach
    assert reach.allows("localhost")
    assert reach.allows("kinesis.example.com")
    assert not reach.allows("169.254.169.254")
    assert not reach.machine
    assert build_control(loaded(tmp_path, HEADRACE_CONNECTION_MACHINE="yes"), MemoryStore()).reach.machine


def test_the_database_is_in_the_folder_or_where_it_is_said(tmp_path: Path) -> None:
    """A URL with a password is not shown by the settings; a wrong one is refused without it."""
    assert database_url(loaded(tmp_path)) == f"sqlite:///{tmp_path}/control.db"
    given = loaded(tmp_path, HEADRACE_CONTROL_DATABASE="mysql://u:SECRET@h/d")
    assert "SECRET" not in repr(given)
    with pytest.raises(StateError) as error:
        open_store(given)
    assert "SECRET" not in str(error.value)
    with pytest.raises(RefusedError, match="no control plane"), opened(loaded(tmp_path / "nowhere")):
        pass
