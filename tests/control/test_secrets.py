"""Secrets are sealed to their place under keys from outside, and open under no other."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from headrace.control import secrets
from headrace.control.secrets import Sealer
from headrace.errors import ConfigurationError, UseCaseError
from headrace.settings import Secret

ONE, TWO = bytes(32), bytes(range(32))


def test_what_is_sealed_opens_at_its_place() -> None:
    """Two seals of one text differ, and neither holds it."""
    sealer = Sealer([ONE])
    first, second = sealer.seal("hidden-é", "a/b"), sealer.seal("hidden-é", "a/b")
    assert first != second
    assert sealer.open(first, "a/b").reveal() == sealer.open(second, "a/b").reveal() == "hidden-é"
    assert "hidden" not in first
    assert b"hidden" not in base64.urlsafe_b64decode(first.split(".")[2])


def test_what_was_moved_changed_or_sealed_elsewhere_does_not_open() -> None:
    """Another place, a changed character, another key, and what is no seal at all."""
    sealer = Sealer([ONE])
    sealed = sealer.seal("hidden", "a/b")
    head, key_id, content = sealed.split(".")
    flipped = content[:20] + ("A" if content[20] != "A" else "B") + content[21:]
    wrong = [(sealed, "a/c"), (f"{head}.{key_id}.{flipped}", "a/b"), (f"{head}.{key_id}.", "a/b"), ("", "a/b")]
    wrong += [
        ("v2." + sealed[3:], "a/b"),
        (Sealer([TWO]).seal("hidden", "a/b"), "a/b"),
        (f"{head}.{key_id}.é", "a/b"),
    ]
    for text, place in wrong:
        with pytest.raises(UseCaseError) as error:
            sealer.open(text, place)
        assert error.value.error_code == "3010-503"
        assert "hidden" not in str(error.value)


def test_keys_rotate() -> None:
    """The first key seals; those behind it still open, until they are dropped."""
    old = Sealer([ONE]).seal("hidden", "p")
    both = Sealer([TWO, ONE])
    assert both.open(old, "p").reveal() == "hidden"
    assert not both.current(old)
    new = both.seal("hidden", "p")
    assert both.current(new)
    assert Sealer([TWO]).open(new, "p").reveal() == "hidden"


def test_derived_keys_differ_by_purpose_and_key() -> None:
    """They follow from the first key, and are not it."""
    assert len({Sealer([ONE]).derive("a"), Sealer([ONE]).derive("b"), Sealer([TWO]).derive("a"), ONE}) == 4
    assert Sealer([ONE]).derive("a") == Sealer([ONE, TWO]).derive("a")


def test_keys_are_read_from_lines() -> None:
    """Base64 or hexadecimal, comments and empty lines between."""
    text = Secret(f"# the new one\n{base64.b64encode(TWO).decode()}\n\n  {ONE.hex()}  \n")
    assert secrets.read_keys(text) == [TWO, ONE]
    assert len(secrets.read_keys(Secret(secrets.new_key()))) == 1


@pytest.mark.parametrize("text", ["", "# nothing", "short", base64.b64encode(bytes(31)).decode(), "0" * 63, "é" * 44])
def test_what_is_no_key_is_refused_without_showing_it(text: str) -> None:
    """The place is told, the line's content is not."""
    with pytest.raises(ConfigurationError) as error:
        secrets.read_keys(Secret(text))
    if text and not text.startswith("#"):
        assert text not in str(error.value)
        assert "line 1" in str(error.value)


def test_a_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    """A file that others may read is refused, as is one that is not there."""
    path = tmp_path / "key"
    path.write_text(secrets.new_key())
    path.chmod(0o600)
    assert len(secrets.keys_from_file(path)) == 1
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="may be read by others"):
        secrets.keys_from_file(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        secrets.keys_from_file(tmp_path / "none")
    path.chmod(0o600)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        secrets.keys_from_file(path)


def test_keys_come_from_a_command(tmp_path: Path) -> None:
    """What it prints is read; no shell takes part; a failure tells nothing of the output."""
    key = tmp_path / "key file"
    key.write_text(ONE.hex())
    assert secrets.keys_from_command(f"cat '{key}'") == [ONE]
    for command in ("", "'", "/no/such/program", f"{sys.executable} -c 'print(\"leak\"); raise SystemExit(3)'"):
        with pytest.raises(ConfigurationError) as error:
            secrets.keys_from_command(command)
        assert "leak" not in str(error.value)
    with pytest.raises(ConfigurationError, match="is no key"):
        secrets.keys_from_command("echo a; echo b")
