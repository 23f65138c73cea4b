"""Profiles (Profile Access), and the paths that they have."""

from __future__ import annotations

from typing import Any, Final

from headrace.control import audience_sizes, profile_schemas, profiles, segments
from headrace.control.access import Permission
from headrace.control.problems import Code, problem

from .call import Answer, Call
from .operation import Operations, Parameter
from .schemas import FREE, ref

operations: Final = Operations("", "Profiles")
_PATH: Final = "/data/core/ups/access/entities"
_MOST_AUDIENCES: Final = 1000
_SCHEMA: Final = "_xdm.context.profile"
_SCHEMA_PATH: Final = "/headrace/profile-schema"
_IDENTITY: Final = (
    Parameter(name="entityId", words="Value of one of its identities.", required=True),
    Parameter(name="entityIdNS", words="Namespace of this identity.", required=True),
    Parameter(
        name="schema.name", words="The profile's schema, the only one there is.",
        schema={"type": "string", "enum": [_SCHEMA]},
    ),
    Parameter(name="mergePolicyId", words="Accepted, without effect: there is one merge policy."),
)  # fmt: skip


@operations(
    "GET",
    _PATH,
    parameters=(*_IDENTITY, Parameter(name="fields", words="Paths to show, separated by commas; all when absent.")),
    answer=ref("Profiles"),
    needs=(Permission.VIEW_PROFILES,),
    asks_engine=True,
)
def get_profile(call: Call) -> Answer:
    """Look up a profile by one of its identities."""
    _schema(call)
    fields = [each for each in (call.one("fields") or "").split(",") if each.strip()]
    namespace, identity = call.one("entityIdNS"), call.one("entityId")
    found = profiles.read_profile(call.control, call.runtime, call.caller, namespace, identity, fields)
    shown: dict[str, Any] = {
        "entityId": found.profile_id,
        "mergePolicy": {"id": "default"},
        "sources": [],
        "tags": [],
        "identityGraph": [f"{each['namespace']}:{each['id']}" for each in found.identities],
        "entity": found.entity,
        "version": found.version,
    }
    if found.updated is not None:
        shown["lastModifiedAt"] = found.updated
    return Answer(content={found.profile_id: shown})


@operations(
    "DELETE",
    _PATH,
    parameters=_IDENTITY,
    status=202,
    needs=(Permission.MANAGE_PROFILES,),
    asks_engine=True,
)
def delete_profile(call: Call) -> Answer:
    """Delete a profile, with everything that is kept of it."""
    _schema(call)
    namespace, identity = call.one("entityIdNS"), call.one("entityId")
    profiles.delete_profile(call.control, call.runtime, call.caller, namespace, identity)
    return Answer(status=202)


@operations(
    "GET",
    "/headrace/profile-deletions",
    parameters=(Parameter(name="run", words="Only this one."),),
    answer=ref("ProfileDeletions"),
    refusals=(404,),
    needs=(Permission.MANAGE_PROFILES,),
    asks_engine=True,
)
def list_profile_deletions(call: Call) -> Answer:
    """List the deletions of profiles, with how far they are; they name nobody."""
    found = profiles.list_deletions(call.control, call.runtime, call.caller, call.one("run"))
    return Answer(content={"deletions": found})


@operations(
    "GET",
    "/headrace/observed-schema",
    answer=ref("ObservedSchema"),
    needs=(Permission.VIEW_PROFILES,),
    asks_engine=True,
)
def get_observed_schema(call: Call) -> Answer:
    """List the paths that profiles have, with type, count and a masked sample.

    They are seen in a part of the profiles: `count` is of those `of` that were looked at. `types` is there where
    types conflict. Where the sandbox has a schema of profiles, `declared` says whether it knows the path, and its
    other paths are listed with a `count` of 0.
    """
    return Answer(content={"paths": profiles.observed_schema(call.control, call.runtime, call.caller)})


@operations(
    "GET",
    "/headrace/audience-sizes",
    answer=ref("AudienceSizes"),
    needs=(Permission.VIEW_SEGMENTS,),
    asks_engine=True,
)
def get_audience_sizes(call: Call) -> Answer:
    """List about how many members the sandbox's audiences have.

    They are counted in a part of the profiles. Where none of these is a member, `below` is true, and there are
    fewer than `about`.
    """
    sizes = audience_sizes.audience_sizes(call.control, call.runtime, call.caller)
    found = segments.list_audiences(call.control, call.caller, limit=_MOST_AUDIENCES, sort="name:asc").items
    listed = [(str(each["namespace"]), str(each["id"])) for each in found]
    told = [(namespace, segment_id, sizes.of(namespace, segment_id)) for namespace, segment_id in listed]
    audiences = [
        {"namespace": namespace, "id": segment_id, "about": size.about, "below": size.below}
        for namespace, segment_id, size in told
    ]
    answer = {"profiles": sizes.profiles, "sampled": sizes.sampled, "exact": sizes.exact, "audiences": audiences}
    return Answer(content=answer)


@operations("GET", _SCHEMA_PATH, answer=ref("ProfileSchema"), needs=(Permission.VIEW_PROFILES,))
def get_profile_schema(call: Call) -> Answer:
    """Look up the sandbox's JSON Schema of profiles."""
    return Answer(content=profile_schemas.get_schema(call.control, call.caller))


@operations(
    "PUT",
    _SCHEMA_PATH,
    body=FREE,
    answer=ref("ProfileSchema"),
    refusals=(409,),
    needs=(Permission.MANAGE_PROFILES,),
)
def put_profile_schema(call: Call) -> Answer:
    """Keep a JSON Schema of profiles, by which pickers offer paths and mappings are checked.

    It refuses nothing: a flow that maps a path which the schema does not know is stored with a warning.
    """
    return Answer(content=profile_schemas.put_schema(call.control, call.caller, call.body()))


@operations("DELETE", _SCHEMA_PATH, status=204, refusals=(409,), needs=(Permission.MANAGE_PROFILES,))
def delete_profile_schema(call: Call) -> Answer:
    """Forget the JSON Schema of profiles."""
    profile_schemas.delete_schema(call.control, call.caller)
    return Answer(status=204)


def _schema(call: Call) -> None:
    if call.one("schema.name") not in (None, _SCHEMA):
        raise problem(Code.BAD_PARAMETER, f"schema.name must be {_SCHEMA}: there are profiles alone")
