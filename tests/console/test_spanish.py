"""The console in Spanish: one word for each thing, and no sentence of English, whatever a form was refused for."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from headrace.console.texts import Texts, catalog
from headrace.console.texts.said import sentences
from headrace.control import parameters
from headrace.control.access import Permission
from headrace.control.problems import TABLE
from headrace.core.report import Report
from headrace.destinations.base import Parameter
from headrace.destinations.registry import destinations
from headrace.errors import Mistake
from tests.control.plane import KINESIS_ID

from .pages import pages
from .said_sources import FILLED_IN, told
from .sample import Sample
from .served import Visitor
from .spoken import check, english

Visit = Callable[..., Visitor]
T: Final = Texts("es")
ANOTHER_WORD: Final = re.compile(
    r"(?i:\bflujos?\b|streaming|fragmento|puntos? de acceso|punto de enlace|presupuesto|declaración|backfill"
    r"|dead letter|segmentos?\b|transmisión|registro de auditoría|(?<!de )(?<!como )\bprueba\b|\bprobar\b|endpoint"
    r"|\blibro\b(?! de entregas)|replay(?!\))|\btú\b|\btus?\b)|\b[Ii]ds?\b"
)
"""What the glossary at the head of es.toml says by another word."""
FILLED: Final = re.compile(r"\{\w+\}|`[^`]*`")


def test_each_thing_has_one_word() -> None:
    """Neither the console's own texts nor what it says for others uses a word that the glossary replaces."""
    own = {**catalog("es"), **{each.english: each.own for each in sentences("es")}}
    found = {key: match[0] for key, text in own.items() if (match := ANOTHER_WORD.search(FILLED.sub("", text)))}
    assert not found


def test_the_most_precise_sentence_is_said() -> None:
    """Each sentence is found where it is said: none stands in the shadow of a more general one."""
    for each in sentences("es"):
        filled = each.english
        for _, name, kind, _ in string.Formatter().parse(each.english):
            if name:
                filled = filled.replace("{" + name + (f":{kind}" if kind else "") + "}", FILLED_IN)
        first = next(one for one in sentences("es") if one.pattern.fullmatch(filled))
        assert first.english == each.english


PUT_TOGETHER: Final = {
    "7 was refused": ("1 update was refused",),
    "7 were refused": ("1,204 updates were refused",),
    "7 is not a region of AWS7": (
        "'eu-west-9' is not a region of AWS; did you mean 'eu-west-2'?",
        "'nowhere-1' is not a region of AWS; give one like 'eu-west-1'",
    ),
    "the file of authorities 7 7": (
        "the file of authorities /a.pem holds no certificate in PEM form",
        "the file of authorities /a.pem cannot be read: No such file or directory",
    ),
}
"""Sentences with an end that is put together elsewhere, and what becomes of them."""


def test_what_use_cases_refuse_is_said() -> None:
    """Every sentence in the source that a visitor can be answered is said in Spanish, nothing of it in English."""
    found = list(told())
    assert len(found) > 150
    for each in found:
        for text in PUT_TOGETHER.get(each.text, (each.text,)):
            assert T.said(text) != text, each
            assert not english(T.said(text)), each


def test_titles_and_permissions_are_said() -> None:
    """What kind of refusal it is, where a page can be refused so, and what may be done."""
    shown = {
        "Resource not found",
        "Service unavailable",
        "Invalid request",
        "Forbidden",
        "Conflict",
        "Sign-in failed",
    }
    for title in shown & {each.title for each in TABLE.values()}:
        assert T.said(title) != title
    for permission in Permission:
        assert T.said(permission.value) != permission.value
    everything = ", ".join(each.value for each in Permission)
    assert not re.search("View|Manage|Activate", T.said(everything))


def _wrong(parameter: Parameter) -> list[Any]:
    """Values that a form can send of a parameter, and that are wrong."""
    most = (parameter.most or 0) + 1
    return [None, "", 7, True, {}, "x y!\x01", "\x01" * 20_000, most, (parameter.least or 0) - 1]


def _parameters() -> Iterator[Parameter]:
    for destination in destinations().values():
        yield from destination.spec.target
        for way in destination.spec.auth:
            yield from way.parameters


def test_what_a_parameter_may_be_is_said() -> None:
    """Each way in which a parameter of any destination can be wrong, with what is allowed."""
    count = 0
    for parameter in _parameters():
        for value in _wrong(parameter):
            report = Report()
            parameters.read(report, {parameter.name: value}, [parameter], "params")
            for mistake in report.mistakes:
                count += 1
                assert T.said(mistake.problem) != mistake.problem, mistake
                assert not english(T.said(mistake.problem)), mistake
                if mistake.allowed and not parameter.choices:
                    assert not english(T.said(mistake.allowed)), mistake
    assert count > 100


def test_what_stands_between_parameters_is_said() -> None:
    """What a destination finds wrong between its parameters."""
    keys = {"accessKeyId": "a", "secretKey": "b", "region": "eu-west-1"}
    wrong: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        (keys, {"region": "eu-west-2"}),
        (keys, {"maxRecordBytes": 10_000_000}),
        ({**keys, "secretKey": None}, {}),
        ({**keys, "region": "ei-west-1"}, {}),
        ({**keys, "region": "xx-nowhere-77"}, {}),
        ({**keys, "useFips": True, "endpointUrl": "https://localhost:1"}, {}),
        ({**keys, "useFips": True, "useDualStack": True, "region": "us-iso-east-1"}, {}),
        ({**keys, "useDualStack": True, "region": "us-iso-east-1"}, {}),
        ({**keys, "endpointUrl": "ftp://localhost"}, {}),
        ({**keys, "endpointUrl": "https://somebody@localhost"}, {}),
        ({**keys, "endpointUrl": "http://example.com"}, {}),
        ({**keys, "proxyUser": "a", "proxyPassword": "b"}, {}),
        ({**keys, "proxyUrl": "http://localhost", "endpointUrl": "http://localhost"}, {}),
        ({**keys, "caFile": "/absent.pem"}, {}),
        ({"source": "profile", "region": "eu-west-1"}, {}),
        ({"source": "environment", "profile": "a", "region": "eu-west-1"}, {}),
    )
    for auth, target in wrong:
        found: Sequence[Mistake] = destinations()[KINESIS_ID].mistakes(auth, target)
        assert found, (auth, target)
        for mistake in found:
            assert T.said(mistake.problem) != mistake.problem, mistake
            assert not english(T.said(str(mistake))), (mistake, T.said(str(mistake)))


def test_a_parameter_is_called_as_in_its_form() -> None:
    """A sentence that names a parameter names it as the field does."""
    moved = "auth.params.endpointUrl changes where the secret secretKey goes, so the secret must be given again"
    said = T.said(moved)
    assert catalog("es")["spec.endpointUrl"] in said
    assert catalog("es")["spec.secretKey"] in said
    assert Texts("en").said(moved) == moved


def test_every_page_is_spanish(installation: Sample, spanish: Visit) -> None:
    """No page of an installation at work says anything in English, with the engine or without."""
    visitor = spanish(installation)
    for down in (False, True):
        installation.engine.down = down
        for name, path in pages(installation).items():
            check(visitor.get(path).text, name)


def test_an_empty_installation_is_spanish(fresh: Sample, spanish: Visit) -> None:
    """Nor do the pages that lead on."""
    fresh.engine.answers |= dict.fromkeys(("observed-schema", "alerts", "alert-channels", "profiles-seen"), ())
    visitor = spanish(fresh)
    for name in (
        "catalog",
        "destinations",
        "accounts",
        "activate",
        "audiences",
        "attributes",
        "monitoring",
        "alerts",
    ):
        check(visitor.get(f"/ui/{name}").text, name)
