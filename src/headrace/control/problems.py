"""Every error code of the control plane, once: title and meaning. ``docs/control-plane.md`` lists them.

Codes ``1xxx`` and ``2xxx`` are the Flow Service's own (its page of error messages), those of six digits are the
gateway's before it, ``3xxx`` are ours where neither has a code. The last three digits are the HTTP status; a code
of six digits begins with it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.errors import Mistake, UseCaseError


class Code(enum.StrEnum):
    """Number and HTTP status."""

    NOT_FOUND = "1101-404"
    UNAVAILABLE = "1103-503"
    LIMIT_AND_COUNT = "1401-400"
    IF_MATCH_MISSING = "1403-400"
    VERSION_MISMATCH = "1404-412"
    EMPTY_BODY = "1405-400"
    STATE_ON_CREATE = "1410-400"
    BAD_SPEC = "1413-400"
    SPEC_FIXED = "1414-400"
    UNKNOWN_AUTH_SPEC = "1415-400"
    CONNECTION_STATE = "1416-400"
    CONNECTION_USED = "1418-400"
    STATE_BUSY = "1421-400"
    ACTION_REFUSED = "1422-400"
    SPECS_FIXED = "1426-400"
    RUNS_BY_SERVICES = "1427-400"
    FLOW_UNKNOWN = "1430-400"
    BAD_SORT_ORDER = "1432-400"
    BAD_SORT_FIELD = "1433-400"
    UNSUPPORTED_OPERATION = "1434-400"
    OPERATOR_NOT_IMPLEMENTED = "1440-400"
    OPERATOR_NOT_FOR_LISTS = "1443-400"
    USED_BY_FLOWS = "1447-400"
    OPERATOR_NOT_FOR_FIELD = "1448-400"
    BAD_FIELD = "1449-400"
    BAD_OPERATOR = "1450-400"
    BAD_PARAMETER = "1451-400"
    BAD_VALUE = "1452-400"
    NO_VALUE = "1453-400"
    BAD_PATCH = "1455-400"
    BAD_STATE = "1456-400"
    WRONG_ORGANISATION = "2000-401"
    ORGANISATION_MISSING = "2001-401"
    NO_SANDBOX = "2100-404"
    SANDBOX_ID_REFUSED = "2110-400"
    EVERY_SANDBOX_REFUSED = "2111-403"
    TOKEN_INVALID = "401013-401"  # noqa: S105  # a code, no password
    TOKEN_MISSING = "403010-403"  # noqa: S105  # a code, no password
    KEY_MISSING = "403000-403"
    KEY_INVALID = "403003-403"
    FORBIDDEN = "2120-403"
    INVALID = "3000-400"
    VERSION_MISSING = "3001-422"
    GUARDRAIL = "3002-400"
    TAKEN = "3003-409"
    SIGN_IN_FAILED = "3004-401"
    TOO_MANY_SIGN_INS = "3005-429"
    FILE_RULES = "3006-409"
    ADDRESS_REFUSED = "3007-403"
    SECRET_MISSING = "3008-400"  # noqa: S105  # a code, no password
    IN_USE = "3009-409"
    NOT_SEALED = "3010-503"
    NO_PATH = "3011-404"
    WRONG_METHOD = "3012-405"
    TOO_LARGE = "3013-413"
    TOO_SLOW = "3014-408"
    TOO_MANY_REQUESTS = "3015-429"
    ENGINE_ABSENT = "3016-503"
    ENGINE_REFUSED = "3017-400"
    MALFORMED = "3018-400"
    BROKEN = "3019-500"


class Meaning(NamedTuple):
    """What a code means.

    Attributes:
        title: The same in every error of the code.
        words: One sentence for the docs.
    """

    title: str
    words: str


_INVALID: Final = "Invalid request"
TABLE: Final[dict[Code, Meaning]] = {
    Code.NOT_FOUND: Meaning("Resource not found", "There is no such resource in this sandbox."),
    Code.UNAVAILABLE: Meaning("Service unavailable", "Somebody else changes resources for too long; try again."),
    Code.LIMIT_AND_COUNT: Meaning(_INVALID, "`limit` and `count=true` exclude each other."),
    Code.IF_MATCH_MISSING: Meaning("Header is missing", "A change needs `If-Match` with the etag that was read."),
    Code.VERSION_MISMATCH: Meaning(
        "Version not matching", "Somebody changed the resource since it was read, or the etag stands without quotes."
    ),
    Code.EMPTY_BODY: Meaning(_INVALID, "The body is missing or empty."),
    Code.STATE_ON_CREATE: Meaning(_INVALID, "A flow is enabled when made; `state` is not allowed then."),
    Code.BAD_SPEC: Meaning(_INVALID, "The spec id is not that of a known spec, or does not fit here."),
    Code.SPEC_FIXED: Meaning(_INVALID, "A connection's connection spec does not change."),
    Code.UNKNOWN_AUTH_SPEC: Meaning(_INVALID, "The connection spec has no such way to authenticate."),
    Code.CONNECTION_STATE: Meaning(_INVALID, "A connection changes only while enabled, disabled or initializing."),
    Code.CONNECTION_USED: Meaning(_INVALID, "Flows use the connection; delete them first."),
    Code.STATE_BUSY: Meaning(_INVALID, "The resource is on its way to another state."),
    Code.ACTION_REFUSED: Meaning(_INVALID, "The action does not apply to the resource."),
    Code.SPECS_FIXED: Meaning(_INVALID, "Specs are part of the product; no token makes or changes them."),
    Code.RUNS_BY_SERVICES: Meaning(_INVALID, "A user's token makes no runs."),
    Code.FLOW_UNKNOWN: Meaning(_INVALID, "The run names a flow that is not there."),
    Code.BAD_SORT_ORDER: Meaning(_INVALID, "`orderby` takes `name`, `+name` or `-name`, separated by commas."),
    Code.BAD_SORT_FIELD: Meaning(_INVALID, "`orderby` names a field that lists are not sorted by."),
    Code.UNSUPPORTED_OPERATION: Meaning(_INVALID, "A patch has an operation other than add, replace, remove."),
    Code.OPERATOR_NOT_IMPLEMENTED: Meaning(_INVALID, "The filter's operator is known elsewhere, not here."),
    Code.OPERATOR_NOT_FOR_LISTS: Meaning(_INVALID, "Only `==` takes several values."),
    Code.USED_BY_FLOWS: Meaning(_INVALID, "Flows use it; take it out of them first."),
    Code.OPERATOR_NOT_FOR_FIELD: Meaning(_INVALID, "The field has no order, so it is not compared by `<` and `>`."),
    Code.BAD_FIELD: Meaning(_INVALID, "The filter's field is no path of names."),
    Code.BAD_OPERATOR: Meaning(_INVALID, "The filter has no operator, or one that does not exist."),
    Code.BAD_PARAMETER: Meaning(_INVALID, "A query parameter is unknown or has a value that is not allowed."),
    Code.BAD_VALUE: Meaning(_INVALID, "The filter's value does not fit its field."),
    Code.NO_VALUE: Meaning(_INVALID, "The filter has no value."),
    Code.BAD_PATCH: Meaning(_INVALID, "An instruction of the patch cannot be applied."),
    Code.BAD_STATE: Meaning(_INVALID, "The state is not one that can be asked for."),
    Code.WRONG_ORGANISATION: Meaning("Invalid authorization token", "The token is for another organisation."),
    Code.ORGANISATION_MISSING: Meaning("Header is missing or empty", "`x-gw-ims-org-id` is missing or empty."),
    Code.NO_SANDBOX: Meaning("Sandbox not found", "The organisation has no active sandbox of this name."),
    Code.SANDBOX_ID_REFUSED: Meaning("Headers not allowed", "A sandbox is chosen by name: `x-sandbox-name`."),
    Code.EVERY_SANDBOX_REFUSED: Meaning("Headers with value restricted", "`x-sandbox-name: *` is not allowed."),
    Code.TOKEN_INVALID: Meaning("Invalid token", "The token is not ours, is expired, or its account is gone."),
    Code.TOKEN_MISSING: Meaning("Empty token", "The request has no token."),
    Code.KEY_MISSING: Meaning("Api key is required", "`x-api-key` is missing."),
    Code.KEY_INVALID: Meaning("Api key is invalid", "`x-api-key` is not the client's that the token is for."),
    Code.FORBIDDEN: Meaning("Forbidden", "The account lacks a permission; the message names it."),
    Code.INVALID: Meaning(_INVALID, "The resource has mistakes; every place is listed."),
    Code.VERSION_MISSING: Meaning(_INVALID, "`connectionSpec.version` is missing."),
    Code.GUARDRAIL: Meaning(_INVALID, "A limit of the sandbox is reached."),
    Code.TAKEN: Meaning("Conflict", "The id or the name is taken."),
    Code.SIGN_IN_FAILED: Meaning("Sign-in failed", "Name or secret is wrong; which one is not told."),
    Code.TOO_MANY_SIGN_INS: Meaning("Too many requests", "Too many failed sign-ins; wait."),
    Code.FILE_RULES: Meaning("Conflict", "The configuration file rules here; change the file."),
    Code.ADDRESS_REFUSED: Meaning("Forbidden", "The settings do not allow connections to this address."),
    Code.SECRET_MISSING: Meaning(_INVALID, "A masked secret stands where the secret itself is needed."),
    Code.IN_USE: Meaning("Conflict", "Accounts or resources still use it, or nobody could sign in any more."),
    Code.NOT_SEALED: Meaning("Service unavailable", "A stored secret does not open under the keys that were given."),
    Code.NO_PATH: Meaning("Resource not found", "The API has no such path."),
    Code.WRONG_METHOD: Meaning("Method not allowed", "The path has other methods; `Allow` names them."),
    Code.TOO_LARGE: Meaning("Request too large", "The body is larger than the settings allow."),
    Code.TOO_SLOW: Meaning("Request timeout", "The body did not arrive in time."),
    Code.TOO_MANY_REQUESTS: Meaning(
        "Too many requests", "More requests come from there than the settings allow; wait."
    ),
    Code.ENGINE_ABSENT: Meaning("Service unavailable", "The engine is not running; what was stored is kept."),
    Code.ENGINE_REFUSED: Meaning(_INVALID, "The engine refused the request; the message says why."),
    Code.MALFORMED: Meaning(_INVALID, "The body is not JSON, or holds what nothing stores."),
    Code.BROKEN: Meaning("Internal error", "A mistake of ours; the log has it under the `requestId`."),
}
"""Every code; a test holds the page of the docs to it."""


def problem(code: Code, message: str, *, mistakes: Sequence[Mistake] = (), wait_s: float = 0.0) -> UseCaseError:
    """The error of a code.

    Args:
        code: Of the table.
        message: What is wrong and what to do next, without secrets.
        mistakes: Every place that is wrong.
        wait_s: Least wait before trying again.
    """
    return UseCaseError(
        error_code=str(code), title=TABLE[code].title, problem=message, mistakes=mistakes, wait_s=wait_s
    )


def refuse(mistakes: Sequence[Mistake], code: Code = Code.INVALID) -> None:
    """Refuse when there are mistakes; a place is a path into the request's resource."""
    if not mistakes:
        return
    places = [Mistake(each.place.lstrip("."), each.problem, each.allowed) for each in mistakes]
    raise problem(code, "; ".join(map(str, places)), mistakes=places)


def not_found(kind: str, resource_id: str) -> UseCaseError:
    """The error of a resource that is not there."""
    return problem(Code.NOT_FOUND, f"{kind} not found with id = [{resource_id[:128]}]")
