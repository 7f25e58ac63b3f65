# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the lookup kubeconfig: a credential for one cluster, for a playbook that works in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens, kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded, encoded
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import ADMINISTRATOR
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import SECRET_TYPE, content_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import is_paused

SHORTEST, LONGEST = "15m", "1d"
# In the namespace of the virtual cluster, beside the platform's own credential: the administrator's token for
# playbooks, for every run to use, so that there is one.
STORE = "playbook-credential"
_BOUND = f"{ADMINISTRATOR}-playbooks"
# So long may a run take from a new Secret to the token that is bound to it and stored.
AT_ONCE = timedelta(minutes=1)


def run(context: Context, cluster: str, user: str | None, host: str | None, lifetime: str) -> dict:
    """The kubeconfig of a cluster, by its name in the inventory: TENANT--NAME, or that of a cluster of the fleet."""
    seconds = quantities.seconds(lifetime, "lifetime", SHORTEST, LONGEST)
    tenant, separator, name = cluster.partition("--")
    if not separator:
        config = _of_fleet(context, cluster, user)
    else:
        naming.check_name(tenant, "tenant")
        naming.check_name(name, "name")
        if user is None:
            config = _shared(context, cluster, host, seconds)
        else:
            config = _of_user(context.hub, tenant, cluster, user)
    context.secret(*kubeconfig.secrets(config))
    return config


def _of_fleet(context: Context, name: str, user: str | None) -> dict:
    """The platform's own credential for a member; the hub's is what the administrator gave."""
    if user is not None:
        raise TenantryError(f"user: {name} is no virtual cluster. Omit user, or set TENANT--NAME")
    with registry.open_fleet(context) as fleet:
        if name == naming.HUB:
            return context.hub_kubeconfig()
        if name not in fleet.names():
            raise TenantryError(
                f"{name} is neither TENANT--NAME, with two hyphens, nor a cluster of the fleet"
                f"{naming.did_you_mean(name, fleet.names())}. Known are {', '.join(fleet.names())}. Correct the name"
            )
        fleet.cluster(name)  # the one that was joined
        return fleet.members[name].kubeconfig()


def _of_user(hub: Cluster, tenant: str, cluster: str, user: str) -> dict:
    """What the tenant's namespace on the hub keeps for that user. Nothing is issued."""
    naming.check_name(user, "user")
    registry.require_platform(hub)
    selector = naming.selector("user", tenant=tenant, user=user)
    secrets = hub.list(SECRET, naming.tenant_namespace(tenant), selector)
    stored = [content_of(secret) or {} for secret in secrets if secret.get("type") == SECRET_TYPE]
    ways = [way for config in stored for way in _ways(config, cluster)]
    if not ways:
        raise TenantryError(
            f"user: the hub keeps no kubeconfig of {user} that leads to {cluster}. Create it with "
            f"tenantry.kube.tenant_user (kubeconfigs with secret, namespace {naming.tenant_namespace(tenant)})"
        )
    found = max(ways, key=_expiry)
    if _expiry(found) <= time.time():
        raise TenantryError(
            f"user: the kubeconfig of {user} for {cluster} has expired. Renew it with tenantry.kube.tenant_user"
        )
    return found


def _ways(config: dict, name: str) -> Iterator[dict]:
    """The kubeconfig with the context of this name alone."""
    sections = {
        section: [entry for entry in config.get(section) or [] if isinstance(entry, dict) and entry.get("name") == name]
        for section in ("contexts", "clusters", "users")
    }
    if all(sections.values()):
        yield {"apiVersion": "v1", "kind": "Config", "current-context": name, **sections}


def _expiry(config: dict) -> float:
    """That of a user who comes by an issuer is the issuer's."""
    claims = bound_tokens.claims(config["users"][0]["user"].get("token"))
    return claims.expires if claims else float("inf")


def _shared(context: Context, cluster: str, host: str | None, seconds: int) -> dict:
    """The administrator's, with the token that all runs share."""
    with registry.open_fleet(context) as fleet:
        found = _find(fleet, cluster, host)
        if found.is_deleting:
            raise Obstacle(f"{cluster} is being deleted. Leave it out, for example by the group status_ready")
        if is_paused(found.host.get(STATEFUL_SET, SERVER, cluster)):
            raise Obstacle(f"{cluster} is paused. Resume it with tenantry.kube.vcluster (state: resumed)")
        url = connection.endpoint(found)
        api = connection.inside(found.host, cluster).limited(found.host.timeout)
        try:
            token = _SharedToken(found, api).current(seconds)
        finally:
            api.close()
    way = kubeconfig.KubeContext(cluster, url, api.ca_data, ADMINISTRATOR, token)
    return kubeconfig.build([way], current=cluster)


def _find(fleet: registry.Fleet, cluster: str, host: str | None) -> VirtualCluster:
    """On the host that is given; else on the hub, and only then on members, some of which may not answer."""
    if found := _on(fleet.cluster(naming.HUB if host is None else host), cluster):
        return found
    problems: dict[str, str] = {}
    if host is None:
        members, problems = fleet.reachable(sorted(fleet.members))
        for member in members.values():
            if found := _on(member, cluster):
                return found
    where = f"on {host}" if host else "in the fleet"
    silent = f"; not asked: {'; '.join(problems.values())}" if problems else ""
    raise Obstacle(
        f"there is no virtual cluster {cluster} {where}{silent}. Check the name, or, if the "
        "inventory comes from its cache, run with --flush-cache"
    )


def _on(host: Cluster, cluster: str) -> VirtualCluster | None:
    space = host.get(NAMESPACE, cluster)
    wanted = naming.labels("vcluster").items()
    return VirtualCluster(host, space) if space and wanted <= (space["metadata"].get("labels") or {}).items() else None


class _SharedToken:
    """
    The administrator's token for playbooks: on the host, so that the next run, on whatever machine, finds it.

    When a third of its lifetime is left, the next run issues another. The former lives on for that third, because
    tasks may be using it.
    """

    def __init__(self, found: VirtualCluster, api: Cluster) -> None:
        self._host, self._namespace, self._api = found.host, found.namespace, api
        self._labels = naming.labels("kubeconfig", tenant=found.tenant, vcluster=found.name)

    def current(self, seconds: int) -> str:
        stored = self._stored()
        token = _token_in(stored)
        bound = self._api.list(SECRET, naming.PLATFORM_NAMESPACE, naming.selecting(self._labels))
        if self._is_accepted(token) and bound_tokens.still_good(token, bound, _LONGEST_SECONDS, time.time()):
            return token
        name = bound_tokens.secret_name(_BOUND, bound)
        issued = bound_tokens.issue(
            self._api, naming.PLATFORM_NAMESPACE, ADMINISTRATOR, name, self._labels, seconds, self._requested()
        )
        bound_tokens.verify(self._api, issued)
        if not self._store(issued.token, stored):
            return self._of_other_run(issued)
        self._revoke(bound, issued.secret, token)
        return issued.token

    def _revoke(self, bound: list[dict], new: dict, former: str) -> None:
        """End what is left of earlier tokens. A Secret as young as the new one may be of a run that is not done yet."""
        claims = bound_tokens.claims(former)
        for secret in bound:
            is_former = claims is not None and claims.secret_uid == secret["metadata"]["uid"]
            if not is_former and _created(new) - _created(secret) >= AT_ONCE:
                bound_tokens.revoke(self._api, secret)

    def _stored(self) -> dict | None:
        return self._host.get(SECRET, STORE, self._namespace)

    def _is_accepted(self, token: str) -> bool:
        """Not after somebody has ended all of the administrator's tokens, with the account."""
        claims = bound_tokens.claims(token)
        account = self._api.get(SERVICE_ACCOUNT, ADMINISTRATOR, naming.PLATFORM_NAMESPACE) if claims else None
        return bool(claims and account and claims.account_uid == account["metadata"]["uid"])

    def _requested(self) -> dict[str, str]:
        requester = self._host.requester
        return {bound_tokens.REQUESTER_ANNOTATION: requester()} if requester else {}

    def _store(self, token: str, before: dict | None) -> bool:
        """False if another run has stored its own since `before`."""
        metadata = {"name": STORE, "namespace": self._namespace, "labels": self._labels}
        data = {"token": encoded(token)}
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
        try:
            if before is None:
                self._host.create(secret)
            else:
                metadata |= {"resourceVersion": before["metadata"]["resourceVersion"]}
                self._host.apply(secret)
        except ApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    def _of_other_run(self, mine: bound_tokens.Credential) -> str:
        """That run's token; this one's, which nobody has, ends unless both are bound to one Secret."""
        token = _token_in(self._stored())
        claims = bound_tokens.claims(token)
        if claims is None or claims.secret_uid != mine.secret["metadata"]["uid"]:
            bound_tokens.revoke(self._api, mine.secret)
        if claims is None:
            raise Obstacle(f"the Secret {STORE} in {self._namespace} was modified concurrently. Run again")
        return token


_LONGEST_SECONDS = quantities.seconds(LONGEST, "lifetime")


def _created(secret: dict) -> datetime:
    return moment(secret["metadata"]["creationTimestamp"])


def _token_in(secret: dict | None) -> str:
    return decoded(secret).get("token", "")
