"""Templates, and how times, numbers and bytes are written in them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from types import BuiltinMethodType, MethodType
from typing import Any, Final

import jinja2
import msgspec
from jinja2 import nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup, escape

from .masking import masked
from .texts import Texts

_FOLDER: Final = Path(__file__).parent
_DIRECT: Final = frozenset({Texts, MethodType, BuiltinMethodType})
_OF_DICTS: Final = frozenset(dir(dict))
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class _Context(jinja2.runtime.Context):
    """Calls at once what does not take the context: most of what a template calls, a thousand times a page.

    Functions are looked at as Jinja does, which may be marked with ``jinja2.pass_context``, and so are macros.
    """

    def call(
        self, called: Any, /, *args: Any, _loop_vars: Any = None, _block_vars: Any = None, **named: Any
    ) -> Any:  # fmt: skip
        """See ``jinja2.runtime.Context.call``."""
        if type(called) in _DIRECT:
            return called(*args, **named)
        return super().call(called, *args, _loop_vars=_loop_vars, _block_vars=_block_vars, **named)


class _Environment(jinja2.Environment):
    """Takes a member of a dict as one: without looking among the methods of dicts first, and failing.

    Args:
        texts: Stand in the compiled templates where they ask for one by a key that is written there.
        **options: Of ``jinja2.Environment``.
    """

    context_class = _Context

    def __init__(self, texts: Texts, **options: Any) -> None:
        super().__init__(**options)
        self._texts = texts

    def compile(self, source: Any, *arguments: Any, **named: Any) -> Any:
        """See ``jinja2.Environment.compile``."""
        parsed = self.parse(source, *arguments[:2]) if isinstance(source, str) else source
        return super().compile(_Said(self._texts).visit(parsed), *arguments, **named)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """See ``jinja2.Environment.getattr``."""
        if type(obj) is dict and attribute in obj and attribute not in _OF_DICTS:
            return obj[attribute]
        return super().getattr(obj, attribute)


class _Said(NodeTransformer):
    """Puts a text where ``t`` is called with its key alone; a key that is put together, or with words, stays."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802  # Jinja's name for it
        """The text, or the call."""
        plain = not (node.kwargs or node.dyn_args or node.dyn_kwargs) and len(node.args) == 1
        key = node.args[0] if plain else None
        if isinstance(node.node, nodes.Name) and node.node.name == "t" and isinstance(key, nodes.Const):
            return nodes.Const(self._texts(key.value), lineno=node.lineno, environment=node.environment)
        self.generic_visit(node)
        return node


class Templates:
    """The templates in each language, compiled when one is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, jinja2.Environment] = {}

    def get(self, name: str, texts: Texts) -> jinja2.Template:
        """A template in the language of some texts, which is rendered with them as ``t``."""
        made = self._made.get(texts.language)
        if made is None:
            made = self._made[texts.language] = environment(texts)
        return made.get_template(name)


def environment(texts: Texts) -> jinja2.Environment:
    """The templates in a language; what is not there is an error rather than empty."""
    made = _Environment(
        texts,
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "utc": utc,
        "hour": hour,
        "stamp": stamp,
        "bytes": in_bytes,
        "number": number,
        "pretty": pretty,
        "masked": masked,
        "short": short,
        "percent": percent,
        "duration": duration,
    }
    return made


def utc(at_ms: float | None) -> str:
    """A time as people read it: ``2026-11-24 13:05:09 UTC``; epoch milliseconds in."""
    if not at_ms:
        return "—"
    moment = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def hour(at_ms: float) -> str:
    """A whole hour, for columns of them: ``2026-11-24 13:00``, UTC."""
    return utc(at_ms)[:16]


def stamp(text: str) -> str:
    """A time as profiles and explanations hold it, ``2026-11-24T13:05:09Z``, as people read it; else as it is."""
    day, letter, clock = text.partition("T")
    return f"{day} {clock[:-1]} UTC" if letter and clock.endswith("Z") and len(day) == 10 else text


def iso(at_ms: float) -> str:
    """A time as ``<time datetime>`` has it."""
    return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(at_ms: float, now_ms: float) -> tuple[str, int]:
    """How far away a time is, in its greatest whole unit: ``("hour", 3)``; seconds for now."""
    seconds = abs(now_ms - at_ms) / 1000
    for length_s, unit in _SPANS:
        if seconds >= length_s:
            return unit, int(seconds // length_s)
    return "second", 0


def in_bytes(size: float | None) -> str:
    """A size with its unit: ``4.2 KiB``."""
    if size is None:
        return "—"
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def number(value: float | None) -> str:
    """A whole number in groups of three, by thin spaces, which every language reads."""
    return "—" if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(share: float | None) -> str:
    """A share of 1 as per cent; never 100 when something is missing."""
    if share is None:
        return "—"
    if 0.999 <= share < 1:
        return f"{int(share * 10_000) / 100:.2f} %"
    return f"{share * 100:.1f} %" if share < 1 else "100 %"


def duration(ms: float | None) -> str:
    """A length of time: ``12 ms``, ``1.4 s``, ``3 min``."""
    if ms is None:
        return "—"
    if ms < 1000:
        return f"{ms:.0f} ms" if ms >= 10 or ms == int(ms) else f"{ms:.1f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.0f} min" if ms < 3_600_000 else f"{ms / 3_600_000:.1f} h"


def short(text: str) -> str:
    """The beginning of a long id, for narrow columns; the whole is copied."""
    return text if len(text) <= 13 else f"{text[:8]}…"


def pretty(value: Any) -> Markup:
    """JSON with its parts marked for colour; every text in it is escaped."""
    return Markup("".join(_marked(value, 0)))  # noqa: S704  # _marked escapes


def _marked(value: Any, depth: int) -> list[str]:
    indent, closing = "  " * (depth + 1), "  " * depth
    if isinstance(value, Mapping) and value:
        parts = ["{\n"]
        for index, (name, each) in enumerate(value.items()):
            parts += [indent, _span("j-name", str(name)), ": ", *_marked(each, depth + 1)]
            parts.append("\n" if index == len(value) - 1 else ",\n")
        return [*parts, closing, "}"]
    if isinstance(value, list | tuple) and value:
        parts = ["[\n"]
        for index, each in enumerate(value):
            parts += [indent, *_marked(each, depth + 1), "\n" if index == len(value) - 1 else ",\n"]
        return [*parts, closing, "]"]
    return [_span("j-text" if isinstance(value, str) else "j-value", value)]


def _span(kind: str, value: Any) -> str:
    return f'<span class="{kind}">{escape(msgspec.json.encode(value).decode())}</span>'
