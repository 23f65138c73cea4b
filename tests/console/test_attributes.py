"""Attributes: what was seen, what a schema knows, and a schema that is uploaded, replaced and deleted."""

from __future__ import annotations

import html
from collections.abc import Callable

import msgspec
import pytest

from .sample import SCHEMA, Sample
from .served import Visitor

Visit = Callable[..., Visitor]
AT = "/ui/attributes"


def test_paths_are_told_beside_the_schema(installation: Sample, visit: Visit) -> None:
    """Each path with type and masked sample; what the schema does not know, and what nobody has yet, is marked."""
    page = visit(installation).get(AT).text
    assert "person.name.firstName" in page
    assert "A•••" in page
    seen, unseen = _row(page, "consents.marketing.email.val"), _row(page, "loyalty.program")
    assert "not in it" in seen
    assert "not seen yet" in unseen
    assert "known" in _row(page, "loyalty.tier")


def _row(page: str, path: str) -> str:
    return page.split(f'data-words="{path}"')[1].split("</tr>")[0]


def test_a_schema_is_uploaded_replaced_and_deleted(fresh: Sample, visit: Visit) -> None:
    """From none to one, to another one, and after a question to none again."""
    visitor = visit(fresh)
    fresh.engine.answers["observed-schema"] = []
    assert "None is kept." in visitor.get(AT).text
    assert visitor.post(AT, document=msgspec.json.encode(SCHEMA).decode()).status_code == 303
    assert "loyalty.program" in visitor.get(AT).text
    smaller = {"type": "object", "properties": {"crmId": {"type": "string"}}}
    visitor.post(AT, document=msgspec.json.encode(smaller).decode())
    page = visitor.get(AT).text
    assert "crmId" in page
    assert "loyalty.program" not in page
    assert "cannot be undone" in visitor.get(f"{AT}/delete").text
    visitor.post(f"{AT}/delete")
    assert "None is kept." in visitor.get(AT).text


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{not json", "This is not JSON"),
        ("[1]", "must be an object"),
        ('{"type": "string"}', "must be object"),
        ('{"type": "object"}', "names no attribute"),
    ],
)
def test_what_is_no_schema_is_told(fresh: Sample, visit: Visit, document: str, told: str) -> None:
    """It comes back with what is wrong and with what was typed, and nothing is stored."""
    visitor = visit(fresh)
    fresh.engine.answers["observed-schema"] = []
    answer = visitor.post(AT, document=document)
    assert answer.status_code == 400
    assert told in answer.text
    assert f">{html.escape(document, quote=False)}</textarea>" in answer.text.replace("&#34;", '"')
    assert "None is kept." in visitor.get(AT).text


def test_without_the_engine_the_schema_is_told(installation: Sample, visit: Visit) -> None:
    """Its paths are in the database."""
    visitor = visit(installation)
    installation.engine.down = True
    page = visitor.get(AT).text
    assert "loyalty.program" in page
    assert "The engine does not tell this" in page


def test_whoever_may_not_change_it_sees_no_form(installation: Sample, visit: Visit) -> None:
    """View Profiles reads; a forged change is refused with the name of the permission."""
    visitor = visit(installation, "activator")
    page = visitor.get(AT)
    assert page.status_code == 200
    assert 'name="document"' not in page.text
    assert "/ui/attributes/delete" not in page.text
    answer = visitor.post(AT, document="{}")
    assert answer.status_code == 403
    assert "Manage Profiles" in answer.text
    assert visit(installation, "viewer").get(AT).status_code == 403
