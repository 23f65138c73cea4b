"""JSON Schemas of what the API takes and gives, for OpenAPI. What is refused is the use cases' matter, not theirs."""

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
    """A schema of ``COMPONENTS``."""
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


_SPEC: Final = obj("id version", id=TEXT, version=TEXT)
_HEAD: Final[dict[str, Schema]] = {
    "id": TEXT,
    "name": TEXT,
    "description": TEXT,
    "createdAt": TIME_MS,
    "updatedAt": TIME_MS,
    "createdBy": TEXT,
    "updatedBy": TEXT,
    "createdClient": TEXT,
    "updatedClient": TEXT,
    "sandboxId": TEXT,
    "sandboxName": TEXT,
    "imsOrgId": TEXT,
    "state": TEXT,
    "version": TEXT,
    "etag": {"type": "string", "description": "Holds its double quotes; `If-Match` takes it as it is."},
}
_ALWAYS: Final = "id createdAt updatedAt createdBy sandboxName imsOrgId state version etag"
_AUTH: Final = obj(
    "specName",
    specName=TEXT,
    params={
        "type": "object",
        "description": "As the connection spec's `authSpec` says; secrets are shown as `****`.",
    },
)
_DATA: Final = obj(format=TEXT)
_SEGMENT_HEAD: Final[dict[str, Schema]] = {
    "name": TEXT,
    "description": TEXT,
    "schema": obj("name", name=TEXT),
    "expression": obj(type=TEXT, format=TEXT, value=TEXT),
    "namespace": TEXT,
    "mergePolicyId": TEXT,
    "ttlInDays": WHOLE,
    "evaluationInfo": FREE,
    "dataGovernancePolicy": FREE,
    "labels": MANY_TEXTS,
}
_TRANSFORMATIONS: Final[Schema] = many(
    obj(
        name=TEXT,
        params=obj(
            segmentSelectors=obj(selectors=many(FREE)),
            profileSelectors=obj(selectors=many(FREE)),
            headrace={"type": "object", "description": "Settings of ours; docs/configuration.md lists them."},
        ),
    )
)

COMPONENTS: Final[dict[str, Schema]] = {
    "Problem": obj(
        "status title errorCode error_code message errorMessage errorDetails mistakes requestId",
        status=WHOLE,
        title=TEXT,
        errorCode={
            "type": "string",
            "description": "docs/control-plane.md lists every one.",
            "examples": ["1404-412"],
        },
        error_code=TEXT,
        message=TEXT,
        errorMessage=TEXT,
        errorDetails=TEXT,
        mistakes=many(obj("place problem allowed", place=TEXT, problem=TEXT, allowed=TEXT)),
        requestId=TEXT,
        error={"type": "string", "description": "Of RFC 6749, from the token endpoint alone."},
        error_description=TEXT,
    ),
    "Links": obj(next=obj("href", href={"type": "string", "description": "Relative to the Flow Service's base."})),
    "Written": obj(
        "id etag",
        id=TEXT,
        etag=TEXT,
        warnings={"type": "array", "items": TEXT, "description": "What was accepted, but is hardly meant."},
        backfills={"type": "array", "items": ref("BackfillStart"), "description": "Begun by what was mapped."},
    ),
    "BackfillStart": obj("flow run", flow=TEXT, run=TEXT),
    "Patch": {
        "type": "array",
        "minItems": 1,
        "maxItems": 2000,
        "items": obj(
            "op path",
            op={"type": "string", "description": "add, replace or remove, in any case."},
            path={"type": "string", "pattern": "^/"},
            value=ANY,
        ),
    },
    "Search": obj(
        queryString={"type": "string", "description": "Filters, alone or as of a URL: `property=name==A`."},
        limit={"type": "integer", "minimum": 1, "maximum": 1000},
        orderby=TEXT,
        count=FLAG,
        projectionFields={"type": "array", "items": TEXT, "description": "Members to answer; of flows alone."},
    ),
    "ConnectionSpec": obj("id name version authSpec", id=TEXT, name=TEXT, providerId=TEXT, version=TEXT, type=TEXT),
    "FlowSpec": obj("id name version", id=TEXT, name=TEXT, providerId=TEXT, version=TEXT),
    "NewConnection": obj("name connectionSpec", name=TEXT, description=TEXT, connectionSpec=_SPEC, auth=_AUTH),
    "Connection": obj(
        _ALWAYS + " name connectionSpec",
        **_HEAD,
        connectionSpec=_SPEC,
        auth=_AUTH,
        headrace=obj(check={"type": "object", "description": "What the last test found."}),
    ),
    "Tested": obj(
        "result",
        result=FLAG,
        problems=MANY_TEXTS,
        targets=many(
            obj(
                "id",
                id=TEXT,
                permissions=many(obj("action", action=TEXT, verdict=TEXT, words=TEXT)),
                problems=MANY_TEXTS,
            )
        ),
    ),
    "Streams": obj("streams complete", streams=MANY_TEXTS, complete=FLAG, problem=TEXT),
    "NewSourceConnection": obj(
        "name connectionSpec",
        name=TEXT,
        description=TEXT,
        connectionSpec=_SPEC,
        baseConnectionId=TEXT,
        data=_DATA,
        params=FREE,
    ),
    "SourceConnection": obj(
        _ALWAYS + " name connectionSpec",
        **_HEAD,
        connectionSpec=_SPEC,
        baseConnectionId=TEXT,
        data=_DATA,
        params=FREE,
        typeInfo=FREE,
        inheritedAttributes=FREE,
    ),
    "NewTargetConnection": obj(
        "name baseConnectionId",
        name=TEXT,
        description=TEXT,
        connectionSpec=_SPEC,
        baseConnectionId=TEXT,
        data=_DATA,
        params=FREE,
    ),
    "TargetConnection": obj(
        _ALWAYS + " name connectionSpec baseConnectionId",
        **_HEAD,
        connectionSpec=_SPEC,
        baseConnectionId=TEXT,
        data=_DATA,
        params=FREE,
        inheritedAttributes=FREE,
    ),
    "NewFlow": obj(
        "name flowSpec sourceConnectionIds targetConnectionIds transformations",
        name=TEXT,
        description=TEXT,
        flowSpec=_SPEC,
        sourceConnectionIds={"type": "array", "items": TEXT, "minItems": 1},
        targetConnectionIds={"type": "array", "items": TEXT, "minItems": 1, "maxItems": 1},
        transformations=_TRANSFORMATIONS,
        policy=FREE,
    ),
    "Flow": obj(
        _ALWAYS + " name flowSpec sourceConnectionIds targetConnectionIds",
        **_HEAD,
        flowSpec=_SPEC,
        sourceConnectionIds=MANY_TEXTS,
        targetConnectionIds=MANY_TEXTS,
        transformations=_TRANSFORMATIONS,
        policy=FREE,
        inheritedAttributes=FREE,
        runs=TEXT,
        lastOperation=FREE,
        lastRunDetails=FREE,
    ),
    "AnyFlow": obj("id", id=TEXT),
    "NewRun": obj("flowId", flowId=TEXT, status=TEXT, params=FREE),
    "Run": obj(
        _ALWAYS + " flowId metrics",
        **_HEAD,
        flowId=TEXT,
        flowSpec=_SPEC,
        metrics=obj(
            "durationSummary sizeSummary recordSummary statusSummary",
            durationSummary=FREE,
            sizeSummary=FREE,
            latencySummary=FREE,
            recordSummary=FREE,
            statusSummary=FREE,
        ),
        activities=many(FREE),
    ),
    "NewSegment": obj("name schema expression", id=TEXT, **_SEGMENT_HEAD),
    "ChangedSegment": {"anyOf": [obj(**_SEGMENT_HEAD), ref("Patch")]},
    "Segment": obj("id name imsOrgId creationTime updateTime", id=TEXT, **_SEGMENT_HEAD),
    "Segments": obj("segments page", segments=many(ref("Segment")), page=FREE, link=FREE),
    "Ids": obj("ids", ids=many(obj("id", id=TEXT))),
    "FoundSegments": obj("results", results={"type": "object", "additionalProperties": ref("Segment")}),
    "NewAudience": obj(
        "name", **_SEGMENT_HEAD, type=TEXT, audienceId=TEXT, originName=TEXT, lifecycleState=TEXT, id=TEXT
    ),
    "Audience": obj(
        "id name audienceId type namespace lifecycleState _etag",
        id=TEXT,
        audienceId=TEXT,
        type=TEXT,
        lifecycleState=TEXT,
        originName=TEXT,
        _etag=TEXT,
        **_SEGMENT_HEAD,
    ),
    "Audiences": obj("children _page", children=many(ref("Audience")), _page=FREE, _links=FREE),
    "Deleted": obj("message", message=TEXT),
    "Profiles": {
        "type": "object",
        "additionalProperties": obj(
            "entityId entity",
            entityId=TEXT,
            mergePolicy=FREE,
            sources=many(ANY),
            tags=many(ANY),
            identityGraph=many(TEXT),
            entity=FREE,
        ),
    },
    "Sandbox": obj("id name title type state", id=TEXT, name=TEXT, title=TEXT, type=TEXT, state=TEXT, isDefault=FLAG),
    "Sandboxes": obj("sandboxes", sandboxes=many(ref("Sandbox")), _page=FREE, _links=FREE),
    "NewSandbox": obj("name", name=TEXT, title=TEXT, type={"type": "string", "enum": ["production", "development"]}),
    "SignIn": obj(
        "grant_type client_id client_secret",
        grant_type={"type": "string", "enum": ["client_credentials"]},
        client_id=TEXT,
        client_secret=TEXT,
        scope=TEXT,
    ),
    "Token": obj("access_token token_type expires_in", access_token=TEXT, token_type=TEXT, expires_in=WHOLE),
    "AdhocRun": obj(
        "activationInfo",
        activationInfo={"type": "object", "additionalProperties": MANY_TEXTS, "description": "Flow id to audiences."},
    ),
    "AdhocOrder": obj("order", order=many(obj("segment order statusURL", segment=TEXT, order=TEXT, statusURL=TEXT))),
    "NewBackfill": obj(
        segments={"type": "array", "items": TEXT, "description": "Audiences; all that the flow maps when absent."},
        identities={"type": "array", "items": obj("namespace id", namespace=TEXT, id=TEXT)},
        kind={"type": "string", "enum": ["backfill", "resend"]},
        qualified_after_ms=TIME_MS,
        qualified_before_ms=TIME_MS,
        rate={"type": "number", "exclusiveMinimum": 0, "description": "Most exports a second."},
    ),
    "Backfills": obj("backfills", backfills=many(ref("Backfill"))),
    "Backfill": obj("run", run=TEXT, flow=TEXT, kind=TEXT, state=TEXT),
    "Standings": obj("flows", flows=many(ref("Standing"))),
    "Standing": obj(
        "flow paused halted pending pause skipped catch_up",
        flow=TEXT,
        paused={**FLAG, "description": "It sends nothing: disabled, or paused in the engine."},
        halted={"type": "string", "description": "Why its destination accepts nothing; empty when it does."},
        pending={**WHOLE, "description": "Exports that wait."},
        pause={
            "type": ["object", "null"],
            "description": "A pause by command or by the cap on dead letters; null without one.",
            "properties": {
                "mode": {"type": "string", "enum": ["keep", "skip"]},
                "since_ms": TIME_MS,
                "reason": {"type": "string", "enum": ["operator", "dead-letters"]},
            },
        },
        skipped={**WHOLE, "description": "Changes that were skipped and not made up for."},
        catch_up={**FLAG, "description": "They can be made up for now."},
        run={"type": ["string", "null"], "description": "The catch-up that resuming began."},
    ),
    "NewPause": obj(
        mode={"type": "string", "enum": ["keep", "skip"], "description": "The flow's `pauseMode` when absent."}
    ),
    "Resumption": obj(catchUp={**FLAG, "description": "Begin to make up for what was skipped."}),
    "Replay": obj(ids=MANY_TEXTS, reason=TEXT, dryRun=FLAG, original=FLAG),
    "UpdateReplay": obj(ids=MANY_TEXTS, reason=TEXT, dryRun=FLAG),
    "Replayed": obj(
        "updates exports dry_run",
        updates=WHOLE,
        exports=WHOLE,
        left={"type": "object", "additionalProperties": WHOLE, "description": "Why some stay, to how many."},
        dry_run=FLAG,
    ),
    "DeadLetters": obj("deadLetters", deadLetters=many(FREE)),
    "ProfileDeletions": obj("deletions", deletions=many(ref("ProfileDeletion"))),
    "ProfileDeletion": obj(
        "run state",
        run=TEXT,
        state={"type": "string", "enum": ["deleting", "settling", "erasing", "compacting", "done"]},
        exports={"type": "object", "additionalProperties": TEXT, "description": "Flow id to id of its last message."},
        waits_for={"type": "array", "items": TEXT, "description": "Flows that have to settle first."},
        erased={"type": "object", "additionalProperties": WHOLE, "description": "How much was made unreadable."},
        asked_ms=TIME_MS,
        done_ms={"type": ["integer", "null"], "description": "Epoch milliseconds; null before."},
    ),
    "AudienceSizes": obj(
        "profiles sampled exact audiences",
        profiles=WHOLE,
        sampled={**WHOLE, "description": "Profiles that were looked at."},
        exact={**FLAG, "description": "All of them were."},
        audiences=many(obj("namespace id about below", namespace=TEXT, id=TEXT, about=WHOLE, below=FLAG)),
    ),
    "ObservedSchema": obj("paths", paths=many(ref("PathSeen"))),
    "PathSeen": obj(
        "path type count",
        path=TEXT,
        type=TEXT,
        count=WHOLE,
        of=WHOLE,
        sample={"type": "string", "description": "The shape of a value, never the value."},
        types={"type": "object", "additionalProperties": WHOLE, "description": "Type to count, where they conflict."},
        declared=FLAG,
    ),
    "ProfileSchema": obj("schema paths etag", schema=FREE, paths=WHOLE, updatedAt=TIME_MS, updatedBy=TEXT, etag=TEXT),
    "NewTestRecord": obj(message={**FREE, "description": "What is sent; a made-up person's message when absent."}),
    "TestRecord": obj(
        "outcome", outcome=TEXT, shard=TEXT, sequence=TEXT, size_bytes=WHOLE, took_ms=WHOLE, marker=TEXT
    ),
    "Activity": obj("items", items=many(FREE), before=WHOLE),
    "NewClient": obj("name roles", name=TEXT, roles=MANY_TEXTS),
    "NewUser": obj("name roles", name=TEXT, roles=MANY_TEXTS, password=TEXT),
    "NewRole": obj("name permissions", name=TEXT, permissions=MANY_TEXTS),
    "ChangedAccount": obj(roles=MANY_TEXTS, state={"type": "string", "enum": ["enabled", "disabled"]}),
    "ChangedRole": obj("permissions", permissions=MANY_TEXTS),
    "NewAccount": obj("id name secret", id=TEXT, name=TEXT, secret=SECRET),
    "NewPassword": obj(password=TEXT),
    "Account": obj("id name state etag", id=TEXT, name=TEXT, roles=MANY_TEXTS, permissions=MANY_TEXTS, state=TEXT),
    "Accounts": obj("items", items=many(ref("Account"))),
    "Sealed": obj("sealed", sealed=WHOLE),
    "Alive": obj("status", status=TEXT),
}
"""Every schema by its name in OpenAPI."""
