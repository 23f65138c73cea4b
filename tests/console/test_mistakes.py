"""What a use case refuses, as a page says it."""

from __future__ import annotations

import pytest

from headrace.console.causes import Speaker
from headrace.console.mistakes import by_field, named, told
from headrace.console.pages.live import shown
from headrace.console.texts import Texts
from headrace.control.problems import Code, problem
from headrace.errors import Mistake

EN, ES = Texts("en"), Texts("es")
SHORT = Mistake("password", "is too short or too long", "12 to 1024 characters")


def test_a_mistake_follows_its_field() -> None:
    """By the console's name of the field, in each language; a place that no field stands for is not shown."""
    assert named(EN, SHORT) == "Password: is too short or too long (12 to 1024 characters)"
    assert named(ES, SHORT) == "Contraseña: es demasiado corta o demasiado larga (de 12 a 1024 caracteres)"
    role = Mistake("roles[2]", "'x' is not a role", "viewer")
    assert named(EN, role) == "Roles: 'x' is not a role (viewer)"
    deep = Mistake("transformations[0].params.profileSelectors.selectors[1].value.path", "is empty")
    assert named(ES, deep) == "Atributo: está sin rellenar"
    assert named(EN, Mistake("", "is empty")) == "is empty"
    assert named(EN, Mistake("flowSpec.version", "is missing")) == "is missing"


def test_mistakes_go_to_their_fields() -> None:
    """Those below a prefix, name and description stand beside their fields, the others above the form."""
    error = problem(
        Code.INVALID,
        "said by the mistakes",
        mistakes=[Mistake("auth.params.region", "is missing"), Mistake("name", "is empty"), SHORT],
    )
    found, rest = by_field(ES, error, "auth.params.")
    assert found == {"region": "falta este dato", "name": "está sin rellenar"}
    assert rest == [named(ES, SHORT)]
    assert by_field(ES, problem(Code.UNAVAILABLE, "the database is busy; try again"), "auth.params.") == (
        {},
        ["la base de datos está ocupada; inténtelo de nuevo"],
    )


@pytest.mark.parametrize("t", [EN, ES])
def test_a_refusal_is_told(t: Texts) -> None:
    """The mistakes, or the problem where there is none; a change of somebody else has words of its own."""
    one = told(t, problem(Code.INVALID, "password: is too short", mistakes=[SHORT]))
    assert (one.problem, one.mistakes, one.words) == ("", (named(t, SHORT),), named(t, SHORT))
    other = told(t, problem(Code.UNAVAILABLE, "the database is busy; try again"))
    assert (other.title, other.words) == (t.said("Service unavailable"), t.said("the database is busy; try again"))
    changed = told(t, problem(Code.VERSION_MISMATCH, "the supplied version does not match"))
    assert changed.changed
    assert changed.words == t("error.changed.words")


def test_the_live_view_says_why_in_the_language_of_who_looks() -> None:
    """What the destination answered, as everywhere."""
    one = {"code": "record-too-large", "detail": "9 bytes of data and partition key, over the limit of 8"}
    assert shown(one, ES, {}, Speaker(ES, {}))["detail"].startswith("9 bytes de datos")
    assert shown({**one, "detail": None}, ES, {}, Speaker(ES, {}))["detail"] == ""
