"""The English sentences that other parts can answer to a visitor of the console, found in their source."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import headrace
from headrace.control.problems import Code

SOURCE: Final = Path(headrace.__file__).parent
FILLED_IN: Final = "7"
"""Stands where words are filled in: a number where one is wanted, a name, or anything."""

PARTS: Final = (
    *("control", "destinations", "kinesis", "aws", "runtimes/embedded", "core"),
    *("alerts/rules.py", "bootstrap/acting.py", "bootstrap/people.py", "bootstrap/alerting.py"),
)
NOT_SHOWN: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("control/configuration.py", "control/document.py", "control/files.py", "control/publish.py"),
        "mistakes of a configuration file, told where the file is read",
    ),
    "control/secrets.py": "mistakes of the keys that the process is started with",
    "control/expressions.py": "the console makes no definitions with an expression",
    "control/schema.py": "a database of another version stops the start",
    "control/source_connections.py": "the console makes the only source connection by itself",
    **dict.fromkeys(
        ("control/filters.py", "control/paging.py", "control/patch.py", "control/runs.py", "control/specs.py"),
        "parameters of the API, which the pages write by themselves",
    ),
    "runtimes/embedded/refold.py": "what a rehearsal of the journal found, told by the command line",
    "control/organisations.py": "made with the command line and the API",
}
"""Files whose sentences no visitor of the console can bring about, with the reason."""
NOT_FOR_PAGES: Final = frozenset(
    {
        *(Code.BAD_PARAMETER, Code.BAD_VALUE, Code.BAD_SORT_FIELD, Code.BAD_SORT_ORDER, Code.VERSION_MISSING),
        *(Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.KEY_MISSING, Code.KEY_INVALID, Code.STATE_ON_CREATE),
        *(Code.ORGANISATION_MISSING, Code.WRONG_ORGANISATION, Code.SANDBOX_ID_REFUSED, Code.EVERY_SANDBOX_REFUSED),
    }
)
"""What only who writes requests by hand can be answered."""
SPEAKERS: Final[dict[str, tuple[int | str, ...]]] = {
    "mistake": (1, 2), "Mistake": (1, 2), "warn": (1,), "problem": (1,), "RefusedError": (0,), "PathMistake": (1,),
    "EndpointError": ("problem",), "RouteError": ("problem",), "CredentialsError": ("problem",),
    "UpdateRefusedError": ("problem",), "_refuse": (2,), "Outcome": ("detail",), "Unanswered": ("detail",),
    "Permission": (2,), "Places": ("problem",), "Cause": (3, "detail"), "append": (0,), "_unread": (1,),
}  # fmt: skip
"""Functions and classes that take a sentence, and which arguments are one."""
VARIABLES: Final = ("detail", "told")
"""What sentences are put into on their way."""


class Told(NamedTuple):
    """A sentence in the source.

    Attributes:
        place: File and line.
        text: The sentence, with ``FILLED_IN`` where words are filled in.
    """

    place: str
    text: str


def told() -> Iterator[Told]:
    """Every sentence; those that are only put together elsewhere are not among them."""
    for path in sorted(itertools.chain.from_iterable(_files(part) for part in PARTS)):
        name = path.relative_to(SOURCE).as_posix()
        if name in NOT_SHOWN:
            continue
        module = importlib.import_module(
            "headrace." + name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        )
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for sentence in _sentences(node):
                place = f"{name}:{sentence.lineno}"
                yield from (Told(place, text) for text in _texts(sentence, module) if _words(text))


def _files(part: str) -> list[Path]:
    path = SOURCE / part
    return [path] if path.is_file() else [each for each in path.rglob("*.py") if "migrations" not in each.parts]


def _sentences(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Assign(targets=[target], value=value) if _name(target) in VARIABLES:
            yield value
        case ast.Call(func=function, args=arguments, keywords=keywords):
            name = _name(function)
            if name == "problem" and any(ast.unparse(arguments[0]) == f"Code.{each.name}" for each in NOT_FOR_PAGES):
                return
            for wanted in SPEAKERS.get(name, ()):
                if isinstance(wanted, int) and wanted < len(arguments):
                    yield arguments[wanted]
                yield from (each.value for each in keywords if each.arg == wanted)
        case _:
            pass


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _texts(node: ast.expr, module: ModuleType) -> list[str]:
    """What an expression can say; nothing where that shows elsewhere alone."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            parts = [_texts(each, module) for each in values]
            return ["".join(each) for each in itertools.product(*parts)]
        case ast.FormattedValue(value=value):
            found = _texts(value, module) if isinstance(value, ast.IfExp | ast.Constant) else []
            return found or [FILLED_IN]
        case ast.IfExp(body=one, orelse=other):
            return [*_texts(one, module), *_texts(other, module)]
        case ast.Subscript(value=ast.Dict(values=values)) | ast.BoolOp(values=values):
            return [text for each in values for text in _texts(each, module)]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            pairs = itertools.product(_texts(left, module) or [FILLED_IN], _texts(right, module) or [FILLED_IN])
            return ["".join(each) for each in pairs]
        case ast.Name(id=name):
            known = getattr(module, name, None)
            return [known] if isinstance(known, str) else []
        case _:
            return []


def _words(text: str) -> bool:
    """Whether it says something, rather than name members or values."""
    return bool(re.search(r"[a-z]{2,} [a-z]", text))
