# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The argument spec of a virtual cluster, which matches the module's documentation."""

from __future__ import annotations

from ansible.module_utils.basic import env_fallback
from ansible_collections.tenantry.kube.plugins.module_utils._platform import oidc
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import (
    datastore,
    etcd,
    host_placement,
    networking,
)

SYNCER_IMAGE = "TENANTRY_SYNCER_IMAGE"  # of the environment: what options for that image are where they are not given


def _resources(memory: str) -> dict:
    options = {
        "cpu": {"type": "str", "default": "1"},
        "memory": {"type": "str", "default": memory},
        "node_selector": {"type": "dict"},
        "tolerations": {"type": "list", "elements": "dict"},
        "anti_affinity": {"type": "str", "choices": ["preferred", "required"], "default": "preferred"},
        "runtime_class": {"type": "str"},
    }
    return {"type": "dict", "apply_defaults": True, "options": options}


PERSISTENCE = {
    "type": {"type": "str", "choices": ["pvc", "none"], "default": "pvc"},
    "size": {"type": "str", "default": "5Gi"},
    "storage_class": {"type": "str"},
}
RESOURCES = {
    "cpu": {"type": "str"},
    "memory": {"type": "str"},
    "storage": {"type": "str"},
    "pods": {"type": "int"},
    "ephemeral_storage": {"type": "str"},
    "node_ports": {"type": "int"},
    "load_balancers": {"type": "int"},
    "extended": {"type": "dict"},
}
EXPOSE = {
    "type": {
        "type": "str",
        "choices": ["ClusterIP", "NodePort", "LoadBalancer", "Ingress", "Route"],
        "default": "ClusterIP",
    },
    "port": {"type": "int"},
    "address": {"type": "str"},
    "ingress_class": {"type": "str"},
    "annotations": {"type": "dict"},
}
CREDENTIAL = {
    "registry": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}
SLEEP = {
    "idle": {"type": "str"},
    "schedule": {"type": "list", "elements": "str"},
    "timezone": {"type": "str", "default": "UTC"},
}
# Where snapshots are kept, one of the two.
STORE: dict[str, dict] = {
    "directory": {"type": "path"},
    "bucket": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "prefix": {"type": "str", "default": ""},
            "endpoint": {"type": "str"},
            "region": {"type": "str"},
        },
    },
}
# Values from before the option existed.
CONTAINER_DEFAULTS = {
    "cpu": {"type": "str", "default": "100m"},
    "memory": {"type": "str", "default": "128Mi"},
}
OPTIONS: dict[str, dict] = {
    "tenant": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "host": {"type": "str"},
    "placement": {"type": "dict", "options": host_placement.OPTIONS},
    "state": {
        "type": "str",
        "choices": ["present", "absent", "paused", "resumed", "restarted", "rotated"],
        "default": "present",
    },
    "rotate_older_than": {"type": "str"},
    "mode": {"type": "str", "choices": ["shared", "dedicated"]},
    "version": {"type": "str"},
    # As it is: text that could be a number is refused.
    "servers": {"type": "int", "default": 1},
    "agents": {"type": "int", "default": 0},
    "server": _resources("1Gi"),
    "agent": _resources("2Gi"),
    "persistence": {"type": "dict", "apply_defaults": True, "options": PERSISTENCE},
    "datastore": {"type": "dict", "options": datastore.OPTIONS},
    "etcd": {"type": "dict", "options": etcd.OPTIONS},
    "resources": {"type": "dict", "options": RESOURCES},
    "tier": {"type": "str", "choices": ["dev", "prod"], "default": "dev"},
    "durability": {"type": "str", "choices": ["full", "normal"]},
    "expose": {"type": "dict", "apply_defaults": True, "options": EXPOSE},
    "image": {"type": "str", "default": "rancher/k3s"},
    "image_credentials": {"type": "list", "elements": "dict", "options": CREDENTIAL},
    "registries": {"type": "dict", "no_log": True},
    "k3s_config": {"type": "dict"},
    "oidc": {"type": "dict", "options": oidc.OPTIONS},
    "client_certificates": {"type": "bool", "default": False},
    "manifests": {"type": "list", "elements": "dict", "no_log": True},
    "cluster_cidr": {"type": "str"},
    "service_cidr": {"type": "str"},
    "network": {"type": "dict", "options": networking.OPTIONS},
    "pod_security": {"type": "str", "choices": ["baseline", "restricted"]},
    "container_defaults": {"type": "dict", "options": CONTAINER_DEFAULTS},
    "storage_classes": {"type": "list", "elements": "str"},
    "ingress_classes": {"type": "list", "elements": "str"},
    "ingress_hosts": {"type": "list", "elements": "str"},
    "ingress_implementation_specific_paths": {"type": "bool"},
    "syncer_image": {"type": "str", "fallback": (env_fallback, [SYNCER_IMAGE])},
    "deletion_protection": {"type": "bool", "default": False},
    "ttl": {"type": "str"},
    "sleep": {"type": "dict", "options": SLEEP},
    "kubeconfig_path": {"type": "path"},
}
# Defaults for requested virtual clusters: all options except those that identify one.
DEFAULTS = {
    option: spec
    for option, spec in OPTIONS.items()
    if option not in ("tenant", "name", "state", "rotate_older_than", "kubeconfig_path")
}
