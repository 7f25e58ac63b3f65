# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an administrator adds to k3s: configuration keys and manifests. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

# Keys of k3s that can be given, in the file of the server, of the agents, or of both.
SERVER_KEYS = frozenset(
    {
        "debug",
        "default-local-storage-path",
        "disable",
        "disable-helm-controller",
        "enable-pprof",
        "helm-job-image",
        "kube-apiserver-arg",
        "kube-controller-manager-arg",
        "kube-scheduler-arg",
        "secrets-encryption-provider",
        "service-node-port-range",
        "supervisor-metrics",
        "system-default-registry",
        "v",
        "vmodule",
    }
)
AGENT_KEYS = frozenset(
    {
        "airgap-extra-registry",
        "debug",
        "default-runtime",
        "disable-default-registry-endpoint",
        "kube-proxy-arg",
        "kubelet-arg",
        "node-label",
        "node-taint",
        "pause-image",
        "protect-kernel-defaults",
        "selinux",
        "snapshotter",
        "v",
        "vmodule",
    }
)
# Keys that the platform sets, with the option to use instead, if any.
MANAGED = {
    "advertise-address": None,
    "agent-token": None,
    "agent-token-file": None,
    "bind-address": None,
    "cluster-cidr": "cluster_cidr",
    "cluster-dns": None,
    "cluster-domain": None,
    "cluster-init": "servers",
    "cluster-reset": None,
    "config": None,
    "data-dir": None,
    "datastore-cafile": "datastore",
    "datastore-certfile": "datastore",
    "datastore-endpoint": "datastore",
    "datastore-keyfile": "datastore",
    "disable-agent": "mode",
    "disable-apiserver": None,
    "disable-cloud-controller": None,
    "disable-controller-manager": None,
    "disable-scheduler": "mode",
    "egress-selector-mode": None,
    "https-listen-port": None,
    "node-name": None,
    "private-registry": "registries",
    "secrets-encryption": None,
    "server": None,
    "service-cidr": "service_cidr",
    "tls-san": "expose",
    "token": None,
    "token-file": None,
    "write-kubeconfig": "kubeconfig_path",
    "write-kubeconfig-mode": None,
}
# Arguments of components that the platform sets.
MANAGED_FLAGS = {
    "kube-apiserver-arg": frozenset(
        {
            "admission-control-config-file",
            "anonymous-auth",
            "audit-log-path",
            "audit-policy-file",
            "authentication-config",
            "authorization-config",
            "authorization-mode",
            "client-ca-file",
            "disable-admission-plugins",
            "enable-bootstrap-token-auth",
            "encryption-provider-config",
            "etcd-servers",
            "secure-port",
            "service-cluster-ip-range",
            "tls-cert-file",
            "tls-private-key-file",
            "token-auth-file",
        }
    ),
    "kube-controller-manager-arg": frozenset(
        {
            "allocate-node-cidrs",
            "cluster-signing-cert-file",
            "cluster-signing-key-file",
            "cluster-signing-kube-apiserver-client-cert-file",
            "cluster-signing-kube-apiserver-client-key-file",
            "cluster-signing-kubelet-client-cert-file",
            "cluster-signing-kubelet-client-key-file",
            "controllers",
            "service-cluster-ip-range",
        }
    ),
    "kube-proxy-arg": frozenset({"conntrack-max-per-core"}),
    "kubelet-arg": frozenset({"cgroup-root", "kubelet-cgroups", "runtime-cgroups", "system-reserved"}),
}
# Keys of k3s without effect in a virtual cluster, with the reason.
USELESS = dict.fromkeys(
    ("etcd-arg", "etcd-expose-metrics"), "configures k3s's embedded etcd, which no virtual cluster uses"
)
USELESS_FLAGS = {
    "kube-apiserver-arg": {
        "audit-webhook-config-file": "names a file, and no option puts one into the server's pod",
    },
}
# A flag whose values add up.
ADMISSION_PLUGINS = "enable-admission-plugins"
# Characters of a value that may be a password. Shorter ones occur elsewhere in the result too.
SHORTEST_SECRET = 8
# A Secret may have 1 MiB; its content is stored encoded, and twice while it changes.
MOST_MANIFESTS = 512 * 1024


@dataclass(frozen=True, repr=False)
class K3s:
    """Additions to k3s's configuration."""

    server: dict
    agent: dict
    manifests: str  # a file of YAML documents; empty: none


def parse_k3s(item: dict) -> K3s:
    """Validate the options k3s_config and manifests. Raise a TenantryError."""
    given = item.get("k3s_config") or {}
    for key, value in given.items():
        _check_key(key)
        _check_value(key, value)
    agent = {key: value for key, value in given.items() if key in AGENT_KEYS}
    only_agents = sorted(agent.keys() - SERVER_KEYS)
    if only_agents and not item["agents"]:
        raise TenantryError(
            f"k3s_config.{only_agents[0]}: applies to agents, and this virtual cluster has none. Omit it"
        )
    server = {key: value for key, value in given.items() if key in SERVER_KEYS}
    return K3s(server, agent, _manifests(item.get("manifests") or []))


def values_of_rejected_keys(given: dict | None) -> list[str]:
    """Return values of unknown keys, for masking: one may be a password, and results show the options."""
    return [
        value
        for key, value in (given or {}).items()
        if key not in SERVER_KEYS | AGENT_KEYS and isinstance(value, str) and len(value) >= SHORTEST_SECRET
    ]


def merged_arguments(ours: list[str], theirs: Iterable[str]) -> list[str]:
    """Merge arguments. The administrator's replace the platform's of the same name; admission plugins add up."""
    added = list(theirs)
    names = {_flag(one) for one in added}
    lists = [one.partition("=")[2] for one in [*ours, *added] if _flag(one) == ADMISSION_PLUGINS]
    plugins = [name for names in lists for name in names.split(",")]
    kept = [one for one in ours if _flag(one) not in {*names, ADMISSION_PLUGINS}]
    added = [one.removeprefix("--") for one in added if _flag(one) != ADMISSION_PLUGINS]
    together = [f"{ADMISSION_PLUGINS}={','.join(dict.fromkeys(filter(None, plugins)))}"] if plugins else []
    return [*kept, *together, *added]


def _check_key(key: object) -> None:
    known = SERVER_KEYS | AGENT_KEYS
    if key in MANAGED:
        instead = f"Use the option {MANAGED[key]}" if MANAGED[key] else "Omit it"
        raise TenantryError(f"k3s_config.{key}: is set by the platform. {instead}")
    if key in USELESS:
        raise TenantryError(f"k3s_config.{key}: {USELESS[key]}. Omit it.")
    if key not in known:
        raise TenantryError(
            f"k3s_config.{str(key)[:40]!r}: is not supported{naming.did_you_mean(str(key), known)}. Use "
            f"{', '.join(sorted(known))}"
        )


def _check_value(key: str, value: object) -> None:
    many = value if isinstance(value, list) else [value]
    if isinstance(value, dict) or not all(isinstance(one, str | int | bool) for one in many):
        raise TenantryError(
            f"k3s_config.{key}: must be text, a number, true, false or a list of them, not {shown(value)}"
        )
    if not key.endswith("-arg"):
        return
    for one in many:
        if not isinstance(one, str) or "=" not in one or not isinstance(value, list):
            raise TenantryError(f"k3s_config.{key}: must be a list of flag=value, not {shown(value)}")
        if _flag(one) in MANAGED_FLAGS.get(key, ()):
            raise TenantryError(f"k3s_config.{key}: {_flag(one)} is set by the platform. Omit it")
        if useless := USELESS_FLAGS.get(key, {}).get(_flag(one)):
            raise TenantryError(f"k3s_config.{key}: {_flag(one)} {useless}. Omit it.")
        if _flag(one).startswith("oidc-"):
            raise TenantryError(f"k3s_config.{key}: {_flag(one)} is set by the platform. Use the option oidc")


def _flag(argument: str) -> str:
    return argument.partition("=")[0].lstrip("-").rstrip("+-")


def _manifests(given: list) -> str:
    for number, one in enumerate(given, 1):
        metadata = one.get("metadata")
        named = isinstance(metadata, dict) and metadata.get("name")
        if not (named and one.get("apiVersion") and one.get("kind")):
            raise TenantryError(
                f"manifests: item {number} is not a Kubernetes object. Set apiVersion, kind and metadata.name"
            )
    text = "".join(f"---\n{json.dumps(one, sort_keys=True)}\n" for one in given)
    if len(text.encode()) > MOST_MANIFESTS:
        raise TenantryError(
            f"manifests: {len(text.encode())} bytes are too many. Set {MOST_MANIFESTS} or less, and apply the rest "
            "with the administrator's kubeconfig"
        )
    return text
