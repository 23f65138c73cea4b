"""Change a document by an RFC 6902 patch, and find out whether the writer saw the current version.

Strictly sequential, as the RFC says: after ``remove /a/0`` what was ``/a/1`` is ``/a/0``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jsonpatch
import msgspec

from headrace.core.report import kind, shown

from .problems import Code, problem

OPERATIONS: Final = ("add", "replace", "remove")
MAX_OPERATIONS: Final = 2000
_QUOTED: Final = re.compile(r'"[^"]*"')


def operations(value: Any) -> list[dict[str, Any]]:
    """Read a patch: operation names in any case, the value of ``remove`` dropped, unknown members ignored.

    Raises:
        UseCaseError: 1405-400 without an instruction, 1434-400 for another operation, 1455-400 for a malformed one.
    """
    if value is None or value == []:
        raise problem(Code.EMPTY_BODY, "the request body cannot be null or empty; give a list of patch instructions")
    if not isinstance(value, list):
        raise _bad(f"the patch must be a list of instructions, not {kind(value)}")
    if len(value) > MAX_OPERATIONS:
        raise _bad(f"{len(value)} instructions are more than {MAX_OPERATIONS}; split the patch")
    return [_operation(each, f"[{index}]") for index, each in enumerate(value)]


def _operation(given: Any, at: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise _bad(f"{at} must be an object with op, path and value, not {kind(given)}")
    name, path = given.get("op"), given.get("path")
    if not isinstance(name, str) or name.lower() not in OPERATIONS:
        raise problem(
            Code.UNSUPPORTED_OPERATION,
            f"{at}: unsupported operation {shown(name)} received; use one of {', '.join(OPERATIONS)}",
        )
    if not isinstance(path, str) or not path.startswith("/"):
        raise _bad(f"{at}.path must be a path that begins with /, not {shown(path)}")
    operation = {"op": name.lower(), "path": path}
    if operation["op"] != "remove":
        if "value" not in given:
            raise _bad(f'{at}: Missing field "value"')
        operation["value"] = given["value"]
    return operation


def apply(document: Mapping[str, Any], patch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A changed copy of a document; the document itself and the patch stay as they are.

    Args:
        document: An object of JSON values.
        patch: As of ``operations``.

    Raises:
        UseCaseError: 1455-400, an instruction cannot be applied.
    """
    changed = _copy(document)
    # Copied too, since later instructions change what earlier ones put in.
    for index, operation in enumerate(_copy(patch)):
        try:
            # One at a time, so that an error names its instruction.
            changed = jsonpatch.JsonPatch([operation]).apply(changed, in_place=True)
        except (
            jsonpatch.JsonPatchException,
            jsonpatch.JsonPointerException,
            TypeError,
            KeyError,
            IndexError,
        ) as error:
            raise _bad(
                f'[{index}]: Missing field "{operation["path"].rpartition("/")[2]}": there is nothing to '
                f"{operation['op']} at {operation['path']}"
            ) from error
    result: dict[str, Any] = changed
    return result


def _copy(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def check_version(if_match: str | None, etag: str, *, resource: str, strict: bool = True) -> None:
    """Refuse a change by somebody who has not seen the current version.

    Args:
        if_match: Value of the header; None when it is missing.
        etag: The current etag, double quotes included.
        resource: Kind and id, for the message.
        strict: Refuse a value without double quotes, as AEP does.

    Raises:
        UseCaseError: 1403-400 when the header is missing, 1404-412 when it does not match.
    """
    given = (if_match or "").strip()
    if not given:
        raise problem(
            Code.IF_MATCH_MISSING,
            "the header 'If-Match' is missing in the request; give the etag that was read, in double quotes",
        )
    quoted = _QUOTED.fullmatch(given) is not None
    if (given if quoted or strict else f'"{given}"') != etag:
        quotes = "" if quoted else "; the value must stand in double quotes"
        raise problem(
            Code.VERSION_MISMATCH,
            f"the supplied version=[{given[:100]}] does not match the current version on "
            f"entity=[{resource}]: read it again{quotes}",
        )


def _bad(message: str) -> Exception:
    return problem(Code.BAD_PATCH, f"an error has occurred while validating patch instructions: {message}")
