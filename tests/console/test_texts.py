"""Texts are whole in every language, and every text that a page asks for exists."""

from __future__ import annotations

import ast
import errno
import os
import re
import string
from pathlib import Path

import msgspec
import pytest

from headrace.console import texts
from headrace.console.texts import Texts, catalog, chosen, languages
from headrace.console.texts.said import sentences
from headrace.core.reasons import ALERTS, DISCARDS, HELD, REFUSALS
from headrace.destinations.kinesis.faults import Fault
from headrace.destinations.registry import destinations

ROOT = Path(texts.__file__).parent.parent
ASKED = re.compile(r"""\bt\(\s*["']([a-zA-Z_.0-9]+)["']""")


def test_two_languages_are_shipped() -> None:
    """English and Spanish, each by its own name."""
    assert languages() == {"en": "English", "es": "Español"}


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_language_is_whole(language: str) -> None:
    """It has every key of English, no other one, none empty, and the same words to be filled in."""
    english = catalog("en")
    # What destinations say of themselves is English where a language says nothing else.
    own = {key: text for key, text in catalog(language).items() if not key.startswith("spec.")}
    assert own.keys() == english.keys()
    for key, text in own.items():
        assert text.strip(), key
        assert _words(text) == _words(english[key]), key


def _words(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_specs_are_translated_by_what_they_have() -> None:
    """A translated parameter is one that some destination has."""
    names = {
        parameter.name
        for destination in destinations().values()
        for parameter in (
            *destination.spec.target,
            *(each for way in destination.spec.auth for each in way.parameters),
        )
    }
    told = {key.removeprefix("spec.").removesuffix("_help") for key in catalog("es") if key.startswith("spec.")}
    assert told <= names


def test_every_text_that_is_asked_for_exists() -> None:
    """Each key in a template or a page is in the catalog; keys put together from parts have their beginning there."""
    known = set(catalog("en"))
    for path in (*ROOT.rglob("*.html"), *ROOT.rglob("*.py")):
        for key in ASKED.findall(path.read_text(encoding="utf-8")):
            found = key in known or f"{key}.other" in known
            begins = key.endswith((".", "_")) and any(each.startswith(key) for each in known)
            assert found or begins, f"{path.name}: {key}"


def test_every_code_has_its_sentence() -> None:
    """Reasons, refusals, discards and alerts of the engine are said in words in every language."""
    for language in languages():
        known = catalog(language)
        t = Texts(language)
        for code in (*HELD, *DISCARDS):
            assert f"held.{code}" in known, (language, code)
        for code in REFUSALS:
            assert f"reason.{code}" in known, (language, code)
        for code in ALERTS:
            assert {f"alert.{code}", f"alert_do.{code}"} <= known.keys(), (language, code)
        assert t.reason("consent") == known["held.consent"]
        assert t.reason("no-identity") == known["reason.no-identity"]
        assert t.reason("unheard-of", "as it is") == "as it is"


def test_what_other_parts_say_is_said_in_spanish() -> None:
    """Sentences of checks and of the engine, with what stands in them; what nobody translated stays as it is."""
    t = Texts("es")
    for fault in Fault:
        assert t.said(fault.value) != fault.value, fault
        assert t.said(f"SomeException: {fault.value} (shardId-000000000001)").startswith("SomeException: ")
    denied = (
        "kinesis:ListStreams is denied; add the statement shown with it to the policy of these keys: "
        'it needs Resource "*", a policy scoped to a stream does not grant it. '
        "Records are written without it; only the stream's state and the choice of streams are missing"
    )
    assert t.said(denied).startswith("kinesis:ListStreams está denegado; añada a la política")
    assert "is denied" not in t.said(denied)
    assert t.said("Nothing knows this.") == "Nothing knows this."
    assert Texts("en").said(denied) == denied


@pytest.mark.parametrize("language", ["es"])
def test_sentences_are_those_that_are_said(language: str) -> None:
    """Each stands in the source, and the translation fills in the same words."""
    told = "\0".join(_literals())
    for each in sentences(language):
        own, english = _words(each.own), _words(each.english)
        assert own <= english, each.english
        assert all(each.startswith("_") for each in english - own), each.english
        for literal, _, _, _ in string.Formatter().parse(each.english):
            whole = literal in told
            parts = any(literal[:at] in told and literal[at:] in told for at in range(1, len(literal)))
            assert whole or parts, f"nobody says {literal!r}"


def _literals() -> list[str]:
    """Every text in the source, and each stretch of one between two words that are filled in; and of libraries."""
    found = [os.strerror(number) for number in errno.errorcode]
    for text in (b"{", b"x"):
        with pytest.raises(msgspec.DecodeError) as caught:
            msgspec.json.decode(text)
        found.append(str(caught.value))
    for path in ROOT.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_choosing_a_language() -> None:
    """The visitor's choice counts before the browser's; what is unknown is passed over."""
    assert chosen("es", "en") == "es"
    assert chosen("xx", "fr, es-MX;q=0.8") == "es"
    assert chosen(None, None) == "en"


def test_counts_take_their_form() -> None:
    """One and many."""
    t = Texts("en")
    assert t("time.hour", count=1) == "1 hour"
    assert t("time.hour", count=3) == "3 hours"
    assert t.known("reason.unheard-of", "as it is") == "as it is"
