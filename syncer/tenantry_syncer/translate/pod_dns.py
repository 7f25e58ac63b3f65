"""What a pod is called, and whom it asks for names. Pure."""

from __future__ import annotations

import copy

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.translate.rejection import RejectedSpec

# Of an API server; a kubelet leaves out what is more.
_NAMESERVERS, _SEARCHES = 3, 32
# Of Linux.
_LONGEST_HOSTNAME = 64


def hostname(pod: dict) -> str:
    """A label, because the host's API takes no other: of dots in a pod's name see full_hostname."""
    given = pod["spec"].get("hostname")
    return given or pod["metadata"]["name"].replace(".", "-")[: naming.LIMIT].rstrip("-")


def full_hostname(pod: dict, config: Config) -> str | None:
    """The name that the pod has inside and `hostname` cannot hold; None where it can. Raises Refused.

    Only a host that has hostnameOverride (beta in Kubernetes 1.35) can give it: the host's kubelet would put the names
    of the host's namespace and domain into one with setHostnameAsFQDN.
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
            f"setHostnameAsFQDN: {full} has {len(full)} characters, and a host name has {_LONGEST_HOSTNAME} at most; "
            "give the pod, its subdomain or its namespace a shorter name"
        )
    return full


def uses_cluster_dns(spec: dict) -> bool:
    policy = spec.get("dnsPolicy", "ClusterFirst")
    return policy in ("None", "ClusterFirstWithHostNet") or (policy == "ClusterFirst" and not spec.get("hostNetwork"))


def dns(spec: dict, namespace: str, config: Config) -> dict:
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
