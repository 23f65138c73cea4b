"""Every page of the console, for tests that visit all of them."""

from __future__ import annotations

from .sample import NOW_MS, Sample

KINESIS = "86043421-563b-46ec-8e6c-e23184711bf6"


def pages(sample: Sample) -> dict[str, str]:
    """Name to path of every page that an installation at work has."""
    flow, account, target = sample.flows[0], sample.accounts[0], sample.targets[0]
    letter = f"{NOW_MS - 5 * 3_600_000}-0"
    return {
        "catalog": f"/ui/catalog/{KINESIS}",
        "connect-account": f"/ui/connect/{KINESIS}",
        "connect-new-account": f"/ui/connect/{KINESIS}?use=new",
        "connect-stream": f"/ui/connect/{KINESIS}/{account}",
        "connect-details": f"/ui/connect/{KINESIS}/{account}/{target}",
        "destinations": "/ui/destinations",
        "destination": f"/ui/destinations/{flow}",
        "destination-activation": f"/ui/destinations/{flow}?tab=activation",
        "destination-backfills": f"/ui/destinations/{flow}?tab=backfills",
        "destination-letters": f"/ui/destinations/{flow}?tab=letters",
        "destination-configuration": f"/ui/destinations/{flow}?tab=configuration",
        "destination-delete": f"/ui/destinations/{flow}/delete",
        "destination-resend": f"/ui/destinations/{flow}/backfill?audience=crm-loyal",
        "destination-cancel": f"/ui/destinations/{flow}/backfill/b-1/cancel",
        "accounts": "/ui/accounts",
        "account": f"/ui/accounts/{account}",
        "activate-choose": "/ui/activate",
        "activate-audiences": f"/ui/activate/{flow}",
        "audiences": "/ui/audiences",
        "attributes": "/ui/attributes",
        "monitoring": "/ui/monitoring",
        "live": "/ui/live",
        "profile-lookup": "/ui/profile",
        "profile": "/ui/profile?namespace=email&id=ada@example.com",
        "profile-deletion": "/ui/profile/deletions/d1",
        "explain-input": "/ui/explain?ordinal=80112",
        "explain": f"/ui/explain?export={4096:032x}",
        "dead-letters": f"/ui/dead-letters?flow={flow}",
        "dead-letter": f"/ui/dead-letters/{letter}",
        "replay": f"/ui/dead-letters/replay?flow={flow}",
        "replay-updates": "/ui/dead-letters/replay?reason=no-identity",
        "alerts": "/ui/alerts",
        "audit": "/ui/audit",
        "users": "/ui/people",
        "clients": "/ui/people?tab=clients",
        "roles": "/ui/people?tab=roles",
        "new-password": f"/ui/people/users/{sample.first.user.id}/secret",
        "settings": "/ui/settings",
    }
