"""What JSON Schemas of the API are made of; the schemas themselves are in ``shapes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
WHOLE: Final[Schema] = {"type": "integer"}
ANY: Final[Schema] = {}
MANY_TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
FREE: Final[Schema] = {"type": "object", "additionalProperties": True}
TIME_MS: Final[Schema] = {"type": "integer", "description": "Epoch milliseconds."}
SECRET: Final[Schema] = {"type": "string", "description": "Shown now and never again."}


def ref(name: str) -> Schema:
    """A schema of ``shapes.COMPONENTS``."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(required: str = "", /, **members: Schema) -> Schema:
    """An object, which may hold other members too.

    Args:
        required: Names of members that are always there, separated by spaces.
        **members: Its members.
    """
    made: dict[str, Any] = {"type": "object", "properties": members, "additionalProperties": True}
    if required:
        made["required"] = required.split()
    return made


def many(of: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": of}


def page(name: str) -> Schema:
    """A part of a list of the Flow Service; or, for ``count=true``, only how many there are."""
    return obj(
        items=many(ref(name)),
        _links=ref("Links"),
        count={"type": "integer", "minimum": 0, "description": "With `count=true`, and then alone."},
    )


def items(name: str) -> Schema:
    """One resource of the Flow Service, which wraps it as it wraps many."""
    return obj("items", items={"type": "array", "items": ref(name), "minItems": 1, "maxItems": 1})
