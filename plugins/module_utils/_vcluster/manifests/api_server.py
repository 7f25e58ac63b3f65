# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Audit policy and admission configuration of a virtual API server. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import SYNCER_USER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    CONFIG_DIRECTORY,
    DATA_DIRECTORY,
    PLATFORM_USER,
    RenderContext,
    as_yaml,
)

READ = ["get", "list", "watch"]
# GET can also open exec and port-forward.
_CONNECTING = [f"pods/{part}" for part in ("attach", "exec", "portforward", "proxy")] + [
    "nodes/proxy",
    "services/proxy",
]
# Events are the one kind that every controller makes as many of as it likes.
EVENTS_PER_SECOND = 50
EVENTS_AT_ONCE = 500


def files(rendering: RenderContext) -> dict[str, str]:
    """Return the content of the configuration files by name."""
    return {"audit.yaml": as_yaml(audit_policy()), "admission.yaml": as_yaml(admission(rendering))}


def arguments() -> list[str]:
    """Return the API server's arguments. The audit log is on its volume, 100 MB at most."""
    return [
        f"admission-control-config-file={CONFIG_DIRECTORY}/admission.yaml",
        f"audit-log-path={DATA_DIRECTORY}/server/logs/audit.log",
        "audit-log-maxage=30",
        "audit-log-maxbackup=9",
        "audit-log-maxsize=10",
        f"audit-policy-file={CONFIG_DIRECTORY}/audit.yaml",
        "enable-admission-plugins=NodeRestriction,EventRateLimit",
    ]


def audit_policy() -> dict:
    """Log metadata only, because not only Secrets contain secrets.

    The log is bounded by size, and workloads may read without limit, so their reads are omitted, except those of
    Secrets. Requests of users and of the platform are logged.
    """
    machines = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        SYNCER_USER,
        PLATFORM_USER,
    ]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "users": machines, "verbs": READ},
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"], "verbs": READ},
            {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
            {
                "level": "None",
                "resources": [{"group": group, "resources": ["events"]} for group in ("", "events.k8s.io")],
            },
            {
                "level": "None",
                "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/metrics", "/openapi/*", "/version"],
            },
            {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", *_CONNECTING]}]},
            {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{naming.PLATFORM_NAMESPACE}"]},
            {"level": "None", "userGroups": ["system:serviceaccounts"], "verbs": READ},
            {"level": "Metadata"},
        ],
    }


def admission(rendering: RenderContext) -> dict:
    """Configure Pod Security. In mode shared the host enforces it, and its messages say what is allowed."""
    plugins = [_plugin("EventRateLimit", "eventratelimit.admission.k8s.io/v1alpha1", "Configuration", limits=_limits())]
    if not rendering.spec.shared:
        level = {"enforce": "baseline", "enforce-version": "latest", "warn": "baseline", "warn-version": "latest"}
        exempt = {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]}
        config = {"defaults": level, "exemptions": exempt}
        plugins.append(
            _plugin("PodSecurity", "pod-security.admission.config.k8s.io/v1", "PodSecurityConfiguration", **config)
        )
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}


def _limits() -> list[dict]:
    return [{"type": "Namespace", "qps": EVENTS_PER_SECOND, "burst": EVENTS_AT_ONCE, "cacheSize": 1000}]


def _plugin(name: str, version: str, kind: str, **content: object) -> dict:
    return {"name": name, "configuration": {"apiVersion": version, "kind": kind, **content}}
