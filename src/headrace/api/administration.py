"""Sandboxes, clients, users, roles and the audit log."""

from __future__ import annotations

from typing import Any, Final

from headrace.control import accounts, activity, organisations
from headrace.control.access import Permission
from headrace.control.accounts import NewAccount
from headrace.control.resources import Kind

from .call import Answer, Call
from .flow_service import IF_MATCH_MAYBE
from .operation import Handler, Operations, Parameter
from .schemas import TIME_MS, ref

operations: Final = Operations("", "Administration")
_SANDBOXES: Final = "/data/foundation/sandbox-management/sandboxes"
_VIEW: Final = (Permission.VIEW_SANDBOXES,)
_MANAGE: Final = (Permission.MANAGE_ACCESS,)
_TAKEN: Final = (409,)


@operations("GET", _SANDBOXES, answer=ref("Sandboxes"), needs=_VIEW)
def list_sandboxes(call: Call) -> Answer:
    """List the sandboxes of the organisation."""
    found = organisations.list_sandboxes(call.control, call.caller)
    page = {"limit": len(found), "count": len(found)}
    return Answer(content={"sandboxes": found, "_page": page, "_links": {}})


@operations(
    "POST", _SANDBOXES, body=ref("NewSandbox"), status=201, answer=ref("Sandbox"), refusals=_TAKEN, needs=_MANAGE
)
def create_sandbox(call: Call) -> Answer:
    """Make a sandbox."""
    return Answer(content=organisations.create_sandbox(call.control, call.caller, call.body()), status=201)


@operations("GET", f"{_SANDBOXES}/{{name}}", answer=ref("Sandbox"), needs=_VIEW)
def get_sandbox(call: Call) -> Answer:
    """Look up a sandbox by its name."""
    return Answer(content=organisations.get_sandbox(call.control, call.caller, call.path["name"]))


@operations(
    "GET",
    "/headrace/audit",
    parameters=(
        Parameter(name="subject", words="Only by this account."),
        Parameter(name="action", words="Only this action."),
        Parameter(name="kind", words="Only of this kind of record."),
        Parameter(name="resourceId", words="Only of this record."),
        Parameter(name="from", words="Not earlier.", schema=TIME_MS),
        Parameter(name="to", words="Earlier than this.", schema=TIME_MS),
        Parameter(name="before", words="`before` of an earlier part.", schema={"type": "integer"}),
        Parameter(name="limit", words="Most lines.", schema={"type": "integer", "minimum": 1, "maximum": 1000}),
        Parameter(
            name="organisation",
            words="Also what belongs to the organisation and to other sandboxes; needs Manage Access too.",
            schema={"type": "string", "enum": ["true", "false"]},
        ),
    ),
    answer=ref("Activity"),
    needs=(Permission.VIEW_ACTIVITY,),
)
def list_activity(call: Call) -> Answer:
    """Read the audit log, the latest line first."""
    limit: Any = call.whole("limit", 100)
    found = activity.list_activity(
        call.control,
        call.caller,
        subject=call.one("subject"),
        action=call.one("action"),
        kind=call.one("kind"),
        resource_id=call.one("resourceId"),
        from_ms=call.whole("from"),
        to_ms=call.whole("to"),
        before=call.whole("before"),
        limit=limit,
        organisation=call.flag("organisation") or False,
    )
    content: dict[str, Any] = {"items": found.items}
    if found.before is not None:
        content["before"] = found.before
    return Answer(content=content)


@operations("POST", "/headrace/sealing", status=200, answer=ref("Sealed"), refusals=_TAKEN, needs=_MANAGE)
def seal_anew(call: Call) -> Answer:
    """Seal the sandbox's stored secrets under the first key; 0 when older keys can be dropped."""
    return Answer(content={"sealed": accounts.seal_anew(call.control, call.caller)})


def _shown(made: NewAccount, status: int) -> Answer:
    content = {"id": made.id, "name": made.name, "secret": made.secret.reveal()}
    return Answer(content=content, status=status, headers={"cache-control": "no-store"})


@operations(
    "POST", "/headrace/clients", body=ref("NewClient"), status=201, answer=ref("NewAccount"), refusals=_TAKEN,
    needs=_MANAGE,
)  # fmt: skip
def create_client(call: Call) -> Answer:
    """Make a client; its secret is shown now and never again."""
    return _shown(accounts.create_client(call.control, call.caller, call.body()), 201)


@operations(
    "POST", "/headrace/users", body=ref("NewUser"), status=201, answer=ref("NewAccount"), refusals=_TAKEN,
    needs=_MANAGE,
)  # fmt: skip
def create_user(call: Call) -> Answer:
    """Make a user for the console; without a password one is made."""
    return _shown(accounts.create_user(call.control, call.caller, call.body()), 201)


@operations(
    "POST", "/headrace/roles", body=ref("NewRole"), status=201, answer=ref("Account"), refusals=_TAKEN, needs=_MANAGE
)
def create_role(call: Call) -> Answer:
    """Make a role."""
    return Answer(content=accounts.create_role(call.control, call.caller, call.body()), status=201)


@operations(
    "POST", "/headrace/clients/{id}/secret", status=200, answer=ref("NewAccount"), refusals=_TAKEN, needs=_MANAGE
)
def renew_secret(call: Call) -> Answer:
    """Give a client a new secret; tokens of the old one end."""
    return _shown(accounts.new_secret(call.control, call.caller, Kind.CLIENT, call.path["id"]), 200)


@operations(
    "POST", "/headrace/users/{id}/password", body=ref("NewPassword"), body_required=False, answer=ref("NewAccount"),
    refusals=_TAKEN, needs=_MANAGE,
)  # fmt: skip
def renew_password(call: Call) -> Answer:
    """Give a user a new password; without one in the body, one is made."""
    given = call.body() or {}
    password = given.get("password") if isinstance(given, dict) else given
    return _shown(accounts.new_secret(call.control, call.caller, Kind.USER, call.path["id"], password), 200)


def _declare(kind: Kind, one: str, body: str) -> None:
    """List, change and remove: the same for the three kinds."""
    path = f"/headrace/{kind}"

    def listed(call: Call) -> Answer:
        return Answer(content={"items": accounts.list_accounts(call.control, call.caller, kind)})

    def changed(call: Call) -> Answer:
        made = accounts.update_account(call.control, call.caller, kind, call.path["id"], call.body(), call.if_match)
        return Answer(content=made)

    def removed(call: Call) -> Answer:
        accounts.delete_account(call.control, call.caller, kind, call.path["id"])
        return Answer(status=204)

    def declare(method: str, where: str, run: Handler, name: str, words: str, **fields: Any) -> None:
        run.__name__, run.__doc__ = name, words
        operations(method, where, needs=_MANAGE, **fields)(run)

    declare("GET", path, listed, f"list_{kind}", f"List the {kind} of the organisation.", answer=ref("Accounts"))
    declare(
        "PATCH", f"{path}/{{id}}", changed, f"update_{one}", f"Change a {one}.", body=ref(body),
        parameters=(IF_MATCH_MAYBE,), answer=ref("Account"), refusals=(409, 412),
    )  # fmt: skip
    declare("DELETE", f"{path}/{{id}}", removed, f"delete_{one}", f"Remove a {one}.", status=204, refusals=_TAKEN)


_declare(Kind.CLIENT, "client", "ChangedAccount")
_declare(Kind.USER, "user", "ChangedAccount")
_declare(Kind.ROLE, "role", "ChangedRole")
