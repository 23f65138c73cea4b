"""Where keys are found: each source is a function that finds botocore credentials, and may block while it does.

botocore reads files, environment and metadata servers; what is here chooses among its providers and joins them.
Keys of a source that run out renew themselves when asked for ahead of it; ``RenewedCredentials`` does the asking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from headrace.aws.credentials import Credentials, RenewedCredentials
from headrace.aws.routes import Route

Source = Callable[[], Any]

_PROVIDERS: Final = {"environment": "env", "container": "container-role", "instance": "iam-role"}
SOURCES: Final = ("chain", "profile", *_PROVIDERS)


class Sts(NamedTuple):
    """The Security Token Service that roles are assumed at.

    Attributes:
        region: Region whose STS is asked.
        endpoint_url: Custom endpoint, or None.
        route: The way to it.
    """

    region: str
    endpoint_url: str | None = None
    route: Route = Route()


class Role(NamedTuple):
    """A role to assume.

    Attributes:
        arn: The role's ARN.
        session: Role session name; shows up in the account's audit trail.
        external_id: Demanded by the role's trust policy, or None.
        duration_s: Lifetime to ask for; None for the service's, an hour. AWS grants an assumed role that
            assumes another one hour at most.
    """

    arn: str
    session: str = "headrace"
    external_id: str | None = None
    duration_s: int | None = None

    def arguments(self) -> dict[str, Any]:
        """What is sent besides the ARN."""
        found: dict[str, Any] = {"RoleSessionName": self.session}
        if self.external_id is not None:
            found["ExternalId"] = self.external_id
        if self.duration_s is not None:
            found["DurationSeconds"] = self.duration_s
        return found


def session(profile: str | None = None) -> Any:
    """A botocore session; importing botocore waits until one is needed."""
    import botocore.session

    return botocore.session.Session(profile=profile)


def given(credentials: Credentials) -> Source:
    """Keys that were given; for a role that is assumed with them."""

    def find() -> Any:
        from botocore.credentials import Credentials as Static

        return Static(credentials.access_key, credentials.secret_key, credentials.token)

    return find


def ambient(source: str, profile: str | None = None) -> Source:
    """Keys of this machine.

    Args:
        source: One of ``SOURCES``: chain (where every AWS tool looks: environment, profile, web identity,
            container, instance), or one of these alone.
        profile: Name of a profile of the shared configuration files; used by chain and profile.
    """

    def find() -> Any:
        if source in ("chain", "profile"):
            return session(profile).get_credentials()
        return session().get_component("credential_provider").get_provider(_PROVIDERS[source]).load()

    return find


def assumed(role: Role, base: Source, sts: Sts) -> Source:
    """Keys of a role, assumed with those of another source, which may be a role itself (chaining)."""

    def find() -> Any:
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        keys = base()
        if keys is None:
            return None
        fetcher = AssumeRoleCredentialFetcher(_clients(sts), keys, role.arn, role.arguments())
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    return find


def web_identity(role: Role, token_file: str, sts: Sts) -> Source:
    """Keys of a role, assumed with the token in a file, which is read each time."""

    def find() -> Any:
        from botocore.credentials import AssumeRoleWithWebIdentityCredentialFetcher, DeferredRefreshableCredentials
        from botocore.utils import FileWebIdentityTokenLoader

        fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
            _clients(sts), FileWebIdentityTokenLoader(token_file), role.arn, role.arguments()
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role-with-web-identity")

    return find


def _clients(sts: Sts) -> Callable[..., Any]:
    """Make clients that go the stated way, as botocore's fetchers want to make them."""

    def create(service: str, **options: Any) -> Any:
        from botocore.config import Config

        route = sts.route
        config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard"}, proxies=_proxies(route))
        if "config" in options:
            config = config.merge(options.pop("config"))
        return session().create_client(
            service,
            region_name=sts.region,
            endpoint_url=sts.endpoint_url,
            config=config,
            verify=route.ca_file or None,
            **options,
        )

    return create


def _proxies(route: Route) -> dict[str, str] | None:
    """As botocore wants them; None lets it ask the environment, as ``route_for`` did."""
    from urllib.parse import quote

    if not route.stated:
        return None
    if not route.proxy:
        return {}
    scheme, _, rest = route.proxy.partition("://")
    user = f"{quote(route.user, safe='')}:{quote(route.password, safe='')}@" if route.user else ""
    return {"https": f"{scheme}://{user}{rest}"}


def credentials_chain(profile: str | None = None) -> RenewedCredentials:
    """Keys from where every AWS tool looks: environment, profile, web identity, container, instance.

    Args:
        profile: Name of a profile of the shared configuration files; None for botocore's order.
    """
    return RenewedCredentials(ambient("chain", profile), f"profile {profile!r}" if profile else "the default chain")


def assume_role(role: Role, base: Source, sts: Sts) -> RenewedCredentials:
    """Keys of a role, assumed with those of another source."""
    return RenewedCredentials(assumed(role, base, sts), f"role {role.arn}")
