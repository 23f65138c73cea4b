"""Read a configuration document: YAML or JSON, with its references resolved and the line of every place.

YAML is read by the 1.2 core rules: ``yes``, ``on``, ``2026-01-01``, ``0123`` and ``12:30`` are texts. A key that is
there twice, a tag, and an alias within itself are mistakes. In any text value ``${env:NAME}`` stands for an
environment variable and ``${file:PATH}`` for a file's text without its last line end; ``$${`` is a plain ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from headrace.core.report import Referenced, Report
from headrace.errors import Mistake

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_VALUES: Final = 500_000
MAX_DEPTH: Final = 64
MAX_REFERENCED_BYTES: Final = 1024 * 1024

_REFERENCE: Final = re.compile(r"\$?\$\{([^}]*)\}?")
_ALLOWED: Final = "${env:NAME}, ${file:PATH}, or $${ for the text itself"
_TAG: Final = "tag:yaml.org,2002:"


class _Loader(_Base):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name and kind are PyYAML's


for _name, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


class Document:
    """A document as read.

    Attributes:
        root: Its value: dicts, lists, texts (``Referenced`` where resolved), numbers, booleans, None.
        report: Takes this document's mistakes; those of reading are in it already.
    """

    def __init__(self, content: bytes, *, name: str, folder: Path, environ: Mapping[str, str]) -> None:
        """Read *content*.

        Args:
            content: The text, UTF-8.
            name: File name, for mistakes about the whole; one that ends in ``.json`` is read as JSON only.
            folder: What relative paths of references are relative to.
            environ: Variables for references.
        """
        self.report = Report()
        self.root: Any = None
        self._name = name
        self._folder = folder
        self._environ = environ
        self._lines: dict[str, int] = {}
        self._broken: set[str] = set()
        self._values = 0
        self._open: set[int] = set()
        self._own = MAX_VALUES
        if len(content) > MAX_BYTES:
            self.report.mistake(name, f"is larger than {MAX_BYTES} bytes")
            return
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.report.mistake(name, f"is not UTF-8: byte {error.start}")
            return
        try:
            self._read(text)
        except RecursionError:
            self.report.mistake(
                name, f"is nested deeper than {MAX_DEPTH}, has an alias within itself, or over {MAX_VALUES} values"
            )
        # What could not be read is missing for whoever checks it: one mistake about it is enough.
        self._broken = {mistake.place for mistake in self.report.mistakes}
        self._own = len(self.report.mistakes)

    def mistakes(self) -> list[Mistake]:
        """All mistakes, in the order of the document, with their lines where known."""
        found = [
            (self._line(mistake.place), mistake)
            for index, mistake in enumerate(self.report.mistakes)
            if index < self._own or mistake.place not in self._broken
        ]
        found.sort(key=lambda each: each[0])
        return [
            mistake._replace(place=f"{mistake.place} (line {line})") if line else mistake for line, mistake in found
        ]

    def _line(self, place: str) -> int:
        """Line of a place, or of the nearest place around it; 0 when unknown."""
        if place == self._name or place.startswith(f"{self._name} ("):
            return 0
        while place not in self._lines:
            cut = max(place.rfind("."), place.rfind("["))
            if cut < 0:
                return 0
            place = place[:cut]
        return self._lines[place]

    def _read(self, text: str) -> None:
        if self._name.endswith(".json") or text.lstrip().startswith("{"):
            try:
                self.root = self._plain(msgspec.json.decode(text), "", 0)
                return
            except msgspec.DecodeError as error:
                if self._name.endswith(".json"):
                    self.report.mistake(self._name, f"is not JSON: {error}")
                    return
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            self.report.mistake(*_syntax(self._name, error))
            return
        self.root = self._value(node, "", 0) if node is not None else None

    def _plain(self, value: Any, place: str, depth: int) -> Any:
        """A JSON value with its references resolved."""
        if depth > MAX_DEPTH:
            raise RecursionError
        if isinstance(value, dict):
            return {
                key: self._plain(each, f"{place}.{key}" if place else key, depth + 1) for key, each in value.items()
            }
        if isinstance(value, list):
            return [self._plain(each, f"{place}[{index}]", depth + 1) for index, each in enumerate(value)]
        return self._resolve(value, place) if isinstance(value, str) else value

    def _value(self, node: yaml.Node, place: str, depth: int) -> Any:
        """A YAML node's value with its references resolved."""
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES or id(node) in self._open:
            raise RecursionError
        self._lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self.report.mistake(place or self._name, f"the YAML tag {node.tag} is not supported")
            return None
        self._open.add(id(node))
        made: Any
        if isinstance(node, yaml.MappingNode):
            made = self._mapping(node, place, depth)
        else:
            made = [self._value(each, f"{place}[{index}]", depth + 1) for index, each in enumerate(node.value)]
        self._open.discard(id(node))
        return made

    def _mapping(self, node: yaml.MappingNode, place: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.report.mistake(place or self._name, "a key must be text")
                continue
            key = key_node.value
            at = f"{place}.{key}" if place else key
            if key in made:
                self.report.mistake(at, f"is there twice, again in line {key_node.start_mark.line + 1}")
            self._lines.setdefault(at, key_node.start_mark.line + 1)
            made[key] = self._value(value_node, at, depth + 1)
        return made

    def _scalar(self, node: yaml.ScalarNode, place: str) -> Any:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str":
                return self._resolve(text, place)
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" | "float" as tag:
                try:
                    return _number(text, tag)
                except (ValueError, OverflowError):
                    self.report.mistake(place, "the number is out of range")
                    return None
            case _:
                self.report.mistake(place or self._name, f"the YAML tag {node.tag} is not supported")
                return None

    def _resolve(self, text: str, place: str) -> str:
        """The text with its references replaced."""
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            self.report.mistake(place, "holds half of a surrogate pair")
            return ""
        if "${" not in text:
            return text
        referred = False

        def replaced(match: re.Match[str]) -> str:
            nonlocal referred
            if match[0].startswith("$$"):
                return match[0][1:]
            referred = True
            kind, _, rest = match[1].partition(":")
            if kind not in ("env", "file") or not rest or not match[0].endswith("}"):
                self.report.mistake(place, f"{match[0]!r} is not a reference", _ALLOWED)
                return ""
            return self._variable(rest, place) if kind == "env" else self._file(rest, place)

        value = _REFERENCE.sub(replaced, text)
        return Referenced(value, text) if referred else value

    def _variable(self, name: str, place: str) -> str:
        value = self._environ.get(name)
        if value is None:
            self.report.mistake(place, f"the environment variable {name} is not set")
        return value or ""

    def _file(self, path: str, place: str) -> str:
        file = self._folder / Path(path).expanduser()
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_REFERENCED_BYTES + 1)
            if len(content) > MAX_REFERENCED_BYTES:
                self.report.mistake(place, f"the file {file} is larger than {MAX_REFERENCED_BYTES} bytes")
                return ""
            return content.decode().removesuffix("\n").removesuffix("\r")
        except OSError as error:
            self.report.mistake(place, f"the file {file} cannot be read: {error.strerror}")
        except (ValueError, RuntimeError):  # not UTF-8, a null byte in the path, or no home folder to expand ~ to
            self.report.mistake(place, f"the file {file} is not a UTF-8 text")
        return ""


def _number(text: str, tag: str) -> int | float:
    if tag == "float":
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise OverflowError
        return number
    whole = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if not -(2**63) <= whole < 2**64:
        raise OverflowError
    return whole


def _syntax(name: str, error: yaml.YAMLError) -> tuple[str, str]:
    """Place and problem of a syntax error, without the line itself, which may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return name, "is not YAML: it holds a character that is not allowed"
    mark = error.problem_mark
    # Quoted words of the parser may be pieces of a value; single characters help and tell nothing.
    problem = re.sub(r"'[^']{2,}'", "'…'", error.problem or "cannot be read")
    return f"{name} (line {mark.line + 1}, column {mark.column + 1})", f"is not YAML: {problem}"
