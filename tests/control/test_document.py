"""Documents: YAML by the 1.2 rules, JSON, references, lines, and texts that are neither."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.control.document import MAX_REFERENCED_BYTES, Document
from headrace.core.report import Referenced

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=5).filter(
    lambda text: "${" not in text
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=10,
)


DEEP = "a.yaml: is nested deeper than 64, has an alias within itself, or over 500000 values"


def document(text: str | bytes, *, name: str = "a.yaml", folder: Path | None = None, **environ: str) -> Document:
    content = text.encode() if isinstance(text, str) else text
    return Document(content, name=name, folder=folder or Path(), environ=environ)


def root(text: str, **options: Any) -> Any:
    read = document(text, **options)
    assert read.mistakes() == []
    return read.root


def lines(text: str | bytes, **options: Any) -> list[str]:
    return [str(mistake) for mistake in document(text, **options).mistakes()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:00", "12:30:00"),
        ("0123", "0123"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("=", "="),
        ("<<", "<<"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("-12", -12),
        ("0x1f", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ('"1.0"', "1.0"),
        ("'true'", "true"),
        ("!!str 12", "12"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    """Nothing turns into a date, a base-60 number or a truth value by surprise."""
    found = root(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@given(JSON)
def test_json_is_read_as_json(value: Any) -> None:
    """Any JSON text gives its value, by its name or by its first character."""
    text = msgspec.json.encode({"a": value})
    assert root(text.decode(), name="a.json") == {"a": value}
    assert root(text.decode(), name="a.yaml") == {"a": value}


def test_yaml_in_braces_is_read_too() -> None:
    """A text that begins like JSON and is none may still be YAML; not when its name says JSON."""
    assert root("{a: 1}") == {"a": 1}
    assert lines("{a: 1}", name="a.json") == [
        "a.json: is not JSON: JSON is malformed: object keys must be strings (byte 1)"
    ]


def test_anchors_and_a_byte_order_mark() -> None:
    """An alias stands for its anchor's value, any number of times."""
    assert root("\ufeffa: &x [1, 2]\nb: *x\nc: *x") == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2", "a (line 1): is there twice, again in line 2"),
        ("a: !x 1", "a (line 1): the YAML tag !x is not supported"),
        ("a: !!python/object:x {}", "a (line 1): the YAML tag tag:yaml.org,2002:python/object:x is not supported"),
        ("a: !!set {x}", "a (line 1): the YAML tag tag:yaml.org,2002:set is not supported"),
        ("a:\n  [1]: 2", "a (line 1): a key must be text"),
        ("a: &x [*x]", DEEP),
        ("a: " + "[" * 70 + "]" * 70, DEEP),
        ('{"a": ' + "[" * 9000 + "]" * 9000 + "}", DEEP),
        ("a: 99999999999999999999", "a (line 1): the number is out of range"),
        ("a: 1e999", "a (line 1): the number is out of range"),
        ("a: " + "9" * 5000, "a (line 1): the number is out of range"),
        (b"a: \xff", "a.yaml: is not UTF-8: byte 3"),
    ],
)
def test_what_is_no_document_for_us(text: str | bytes, line: str) -> None:
    """Each is one mistake, with its line where there is one."""
    assert lines(text) == [line]


def test_half_a_surrogate_pair_is_refused() -> None:
    """No text that cannot be written as UTF-8 comes in, whichever reader meets it."""
    for text in ('a: "\\ud800"', '{"a": "\\ud800"}'):
        assert len(lines(text)) == 1


def test_aliases_that_multiply_are_stopped() -> None:
    """A few lines that expand to billions of values are refused in bounded time."""
    names = "abcdefghij"
    text = "a: [1,1,1,1,1,1,1,1,1]\n".replace("a: ", "a: &a ")
    for before, name in itertools.pairwise(names):
        text += f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    assert lines(text) == [DEEP]


@pytest.mark.parametrize(
    "text",
    [
        "a: 'tops3cret",
        "a: tops3cret: b",
        "a: *tops3cret",
        "a: !<tops3cret",
        "a: [tops3cret",
        "tops3cret\na: b",
        'a: "tops3cret\\q"',
        "a:\n\t- tops3cret",
        "a: \x00tops3cret",
    ],
)
def test_a_syntax_error_shows_no_text(text: str) -> None:
    """The line at fault may hold a secret, so that only its place and the kind of error are told."""
    (line,) = lines(text)
    assert "is not YAML" in line
    assert "tops3cret" not in line


def test_references_are_resolved(tmp_path: Path) -> None:
    """Variables and files stand in any text; paths are relative to the folder; a doubled dollar is plain."""
    (tmp_path / "one").write_text("x\ny\r\n")
    (tmp_path / "two").write_text("z")
    found = root(
        f"a: ${{env:A}}\nb: ${{file:one}}\nc: <${{env:A}}-${{file:{tmp_path}/two}}>\n"
        "d: $${env:A}\ne: $A\n'${env:A}': 1",
        folder=tmp_path,
        A="1: ${env:B}",
    )
    assert found == {
        "a": "1: ${env:B}",
        "b": "x\ny",
        "c": "<1: ${env:B}-z>",
        "d": "${env:A}",
        "e": "$A",
        "${env:A}": 1,
    }
    assert isinstance(found["a"], Referenced)
    assert repr(found["c"]).startswith("'<${env:A}-")
    assert not isinstance(found["d"], Referenced)
    assert root('{"a": ["${env:A}"]}', A="v") == {"a": ["v"]}


def test_references_that_lead_nowhere(tmp_path: Path) -> None:
    """Each names what is missing, at its place, and all are told."""
    (tmp_path / "large").write_bytes(b"x" * (MAX_REFERENCED_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff")
    text = "\n".join(
        f"a{index}: {value}"
        for index, value in enumerate(
            [
                "${env:NONE}",
                "${file:none}",
                "${file:large}",
                "${file:binary}",
                "${HOME}",
                "${env:}",
                "${vault:x}",
                "${env:A",
            ]
        )
    )
    allowed = "(allowed: ${env:NAME}, ${file:PATH}, or $${ for the text itself)"
    assert lines(text, folder=tmp_path, A="v") == [
        "a0 (line 1): the environment variable NONE is not set",
        f"a1 (line 2): the file {tmp_path}/none cannot be read: No such file or directory",
        f"a2 (line 3): the file {tmp_path}/large is larger than {MAX_REFERENCED_BYTES} bytes",
        f"a3 (line 4): the file {tmp_path}/binary is not a UTF-8 text",
        f"a4 (line 5): '${{HOME}}' is not a reference {allowed}",
        f"a5 (line 6): '${{env:}}' is not a reference {allowed}",
        f"a6 (line 7): '${{vault:x}}' is not a reference {allowed}",
        f"a7 (line 8): '${{env:A' is not a reference {allowed}",
    ]


def test_mistakes_found_later_have_lines_and_stand_in_order() -> None:
    """Whoever checks the values reports by place; the nearest line around a place that is not there is told."""
    read = document("a:\n  - b: 1\n    c: ${env:NONE}\nd: 2")
    read.report.mistake("d", "last")
    read.report.mistake("a[0].x.y[3]", "missing")
    read.report.mistake("nowhere", "of the whole")
    read.report.mistake("a[0].c", "is empty, since it could not be read")
    assert [str(mistake) for mistake in read.mistakes()] == [
        "nowhere: of the whole",
        "a[0].x.y[3] (line 2): missing",
        "a[0].c (line 3): the environment variable NONE is not set",
        "d (line 4): last",
    ]


@given(st.binary(max_size=40) | st.text(st.sampled_from("a:- \n\t{}[]&*!#'\"$,?|>%@`0"), max_size=30).map(str.encode))
def test_any_bytes_are_a_document_or_a_mistake(content: bytes) -> None:
    """Nothing raises, whatever the file holds."""
    read = document(content)
    assert read.root is None or isinstance(read.root, dict | list | str | int | float)
    for mistake in read.mistakes():
        assert mistake.problem
