"""Process-wide settings and secrets."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace import settings
from headrace.errors import ConfigurationError
from headrace.settings import Secret

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def test_the_page_is_current() -> None:
    """docs/settings.md is what the table says; after a change, write ``settings.page()`` there."""
    assert PAGE.read_text() == settings.page()


def test_every_setting_is_described() -> None:
    """Each has a variable, a sentence, a default in words, and limits when it is a number."""
    for row in settings.TABLE:
        assert row.variable == "HEADRACE_" + row.name.upper()
        assert row.help.endswith(".")
        assert row.default_words
        assert (row.least is not None) == (row.type in ("whole number", "number", "bytes"))
        assert row.allowed
    assert [row.name for row in settings.TABLE] == list(settings.Settings.__dataclass_fields__)


def test_the_defaults() -> None:
    """Without variables each setting has its default, and those in the table's words are those."""
    found = settings.load({"HOME": "/home/x"})
    assert found == settings.Settings(data_dir=Path("/home/x/.local/share/headrace"))
    assert (found.batch_updates, found.journal_hours, found.collection_host) == (1000, 24, "127.0.0.1")
    words = {row.name: row.default_words for row in settings.TABLE}
    assert settings.load({}, memory_bytes=words["memory_bytes"]).memory_bytes == found.memory_bytes
    assert settings.load({}, journal_bytes=words["journal_bytes"]).journal_bytes == found.journal_bytes


def test_variables_are_read_and_options_win() -> None:
    """A variable replaces the default, an option the variable; empty and absent are the same."""
    environ = {
        "HEADRACE_DATA_DIR": "/data",
        "HEADRACE_BATCH_UPDATES": "10",
        "HEADRACE_DRAIN_TIMEOUT_S": "1.5",
        "HEADRACE_MEMORY_BYTES": "1 GiB",
        "HEADRACE_LOG_LEVEL": "debug",
        "HEADRACE_INSTALLATION_KEY": "k",
        "HEADRACE_JOURNAL_HOURS": "",
    }
    found = settings.load(environ, batch_updates=20, log_level=None)
    assert (found.data_dir, found.batch_updates, found.drain_timeout_s) == (Path("/data"), 20, 1.5)
    assert (found.memory_bytes, found.log_level, found.journal_hours) == (1024**3, "debug", 24)
    assert found.installation_key == Secret("k")
    assert "'k'" not in repr(found)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping the process's own variables are read."""
    monkeypatch.setenv("HEADRACE_SANDBOX", "other-1")
    assert settings.load().sandbox == "other-1"
    assert settings.environment()["HEADRACE_SANDBOX"] == "other-1"


def test_every_wrong_value_is_told_at_once() -> None:
    """One error lists each with what is allowed."""
    environ = {
        "HEADRACE_BATCH_UPDATES": "0",
        "HEADRACE_JOURNAL_HOURS": "soon",
        "HEADRACE_DRAIN_TIMEOUT_S": "nan",
        "HEADRACE_LOG_LEVEL": "loud",
        "HEADRACE_MEMORY_BYTES": "1MB",
        "HEADRACE_SANDBOX": "A/b",
    }
    with pytest.raises(ConfigurationError) as caught:
        settings.load(environ, linger_ms=-1, colour="blue")
    lines = [str(mistake) for mistake in caught.value.mistakes]
    assert lines == [
        "HEADRACE_SANDBOX: 'A/b' is not allowed (allowed: text of the form [a-z0-9-]{1,64})",
        "HEADRACE_MEMORY_BYTES: '1MB' is not allowed (allowed: bytes, or as 64MiB, 2GiB, at least 16777216)",
        "HEADRACE_BATCH_UPDATES: '0' is not allowed (allowed: whole number, 1 to 100000)",
        "--linger-ms: '-1' is not allowed (allowed: whole number, 0 to 60000)",
        "HEADRACE_JOURNAL_HOURS: 'soon' is not allowed (allowed: whole number, 0 to 8760)",
        "HEADRACE_DRAIN_TIMEOUT_S: 'nan' is not allowed (allowed: number, 0 to 86400)",
        "HEADRACE_LOG_LEVEL: 'loud' is not allowed (allowed: debug, info, warning, error)",
        "colour: is not a setting (allowed: " + ", ".join(row.name for row in settings.TABLE) + ")",
    ]


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {"HOME": "/h"}, "/h/.local/share/headrace"),
        ("linux", {"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/headrace"),
        ("linux", {"HOME": "/h", "XDG_DATA_HOME": "x"}, "/h/.local/share/headrace"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Application Support/Headrace"),
        ("win32", {"HOME": "/h", "LOCALAPPDATA": "/l"}, "/l/Headrace"),
        ("win32", {"HOME": "/h"}, "/h/AppData/Local/Headrace"),
    ],
)
def test_the_data_folder_is_the_platforms(platform: str, environ: dict[str, str], folder: str) -> None:
    """Each platform's own folder for user data; a relative XDG folder is ignored, as its specification says."""
    assert settings.data_dir(environ, platform) == Path(folder)


def pickled(secret: Secret) -> Any:
    return pickle.dumps(secret)


@pytest.mark.parametrize("leak", [pickled, msgspec.json.encode, msgspec.to_builtins, copy.deepcopy])
def test_a_secret_is_not_serialised(leak: Any) -> None:
    """Pickle, JSON and copies of a secret are refused."""
    with pytest.raises(TypeError):
        leak(Secret("hidden"))


def test_a_secret_is_not_shown() -> None:
    """No text of it, of its container or of its hash tells the value; ``reveal`` does."""
    secret = Secret("hidden")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr([secret]), f"{secret.__reduce__}"):
        assert "hidden" not in text
    assert secret.reveal() == "hidden"
    assert secret == Secret("hidden")
    assert secret != Secret("other")
    assert secret != "hidden"
    assert hash(secret) == hash(Secret("other"))


def test_settings_go_to_another_process_as_variables() -> None:
    """The variables of some settings load as the same settings, secrets among them; defaults need none."""
    found = settings.load(
        {"HOME": "/h", "HEADRACE_TOKEN_KEY": "k", "HEADRACE_MEMORY_BYTES": "1GiB", "HEADRACE_DRAIN_TIMEOUT_S": "0.5"}
    )
    variables = settings.as_environment(found)
    assert settings.load(variables) == found
    assert sorted(variables) == [
        "HEADRACE_DATA_DIR", "HEADRACE_DRAIN_TIMEOUT_S", "HEADRACE_MEMORY_BYTES", "HEADRACE_TOKEN_KEY",
    ]  # fmt: skip
