"""Host name and DNS configuration of a pod. Pure."""

from __future__ import annotations

import copy

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.translate.rejection import RejectedSpec

# Limits of the API server; a kubelet omits entries beyond them.
_NAMESERVERS, _SEARCHES = 3, 32
# Limit of Linux.
_LONGEST_HOSTNAME = 64


def hostname(pod: dict) -> str:
    """Return `hostname` for the host, which must be a label; see full_hostname for names with dots."""
    given = pod["spec"].get("hostname")
    return given or pod["metadata"]["name"].replace(".", "-")[: naming.LIMIT].rstrip("-")


def full_hostname(pod: dict, config: Config) -> str | None:
    """Return the pod's host name if `hostname` cannot express it, otherwise None. Raises RejectedSpec.

    It requires hostnameOverride on the host (beta in Kubernetes 1.35): with setHostnameAsFQDN, the host's kubelet would
    use the host's namespace and domain.
    """
    spec, metadata = pod["spec"], pod["metadata"]
    if spec.get("hostNetwork"):
        return None
    if spec.get("hostnameOverride"):
        return spec["hostnameOverride"]
    short = spec.get("hostname") or metadata["name"][: naming.LIMIT].rstrip("-.")
    if not spec.get("setHostnameAsFQDN") or not spec.get("subdomain"):
        return short if "." in short else None
    full = f"{short}.{spec['subdomain']}.{metadata['namespace']}.svc.{config.cluster_domain}"
    if len(full) > _LONGEST_HOSTNAME:
        raise RejectedSpec(
            f"setHostnameAsFQDN: {full} has {len(full)} characters; the limit is {_LONGEST_HOSTNAME}. "
            "Shorten the name of the pod, its subdomain or its namespace."
        )
    return full


def uses_cluster_dns(spec: dict) -> bool:
    """Return whether the pod resolves names with the virtual cluster's DNS."""
    policy = spec.get("dnsPolicy", "ClusterFirst")
    return policy in ("None", "ClusterFirstWithHostNet") or (policy == "ClusterFirst" and not spec.get("hostNetwork"))


def dns(spec: dict, namespace: str, config: Config) -> dict:
    """Return the dnsConfig of the host pod."""
    given = copy.deepcopy(spec.get("dnsConfig") or {})
    if spec.get("dnsPolicy") == "None" or not uses_cluster_dns(spec):
        return given
    domain = config.cluster_domain
    searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
    options = given.get("options") or []
    if not any(one["name"] == "ndots" for one in options):
        options = [*options, {"name": "ndots", "value": "5"}]
    return {
        "nameservers": [config.dns_address, *(given.get("nameservers") or [])][:_NAMESERVERS],
        "searches": (searches + [one for one in given.get("searches") or [] if one not in searches])[:_SEARCHES],
        "options": options,
    }
