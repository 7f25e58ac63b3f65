# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The etcd of three servers: three members, each with a name that outlives its address, and a volume. Pure.

k3s's own etcd knows its members by their addresses, which pods change (docs/high-availability.md). These know each
other by their names in the host's DNS.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils import _render_placement
from ansible_collections.tenantry.kube.plugins.module_utils._etcd_certificates import FILES
from ansible_collections.tenantry.kube.plugins.module_utils._render_base import (
    CONFIG_HASH,
    ETCD,
    STOP_SECONDS,
    Rendering,
    fingerprint,
    requirements,
    restricted,
    secret,
    secret_volume,
    service_account,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_slice import MEBI, memory_text

MEMBERS = 3
CERTIFICATES = "etcd-certificates"
CERTIFICATE_DIRECTORY = "/etc/tenantry/etcd"
DATA_DIRECTORY = "/var/lib/etcd"
DATA = "data"  # in it
CLIENT_PORT = 2379
PEER_PORT = 2380
HEALTH_PORT = 2381
CLAIMS = tuple(f"data-{ETCD}-{number}" for number in range(MEMBERS))
# Never used: each member's claim is made before it. A template could not be changed, and so not grow.
UNUSED_SIZE = "1Gi"
# etcd itself advises against more. Of a volume, the log and the copies of it need the other half.
LARGEST_QUOTA = 8 * 1024 * MEBI
START_SECONDS = 240


def objects(rendering: Rendering) -> list[dict]:
    if rendering.spec.etcd is None:
        return []
    return [
        service_account(rendering.metadata(ETCD)),
        certificates(rendering),
        *_volume_claims(rendering),
        _service(rendering),
        _disruption_budget(rendering),
        _stateful_set(rendering),
    ]


def endpoint(rendering: Rendering) -> str:
    """As k3s takes it."""
    return ",".join(f"https://{_host(rendering, number)}:{CLIENT_PORT}" for number in range(MEMBERS))


def client_files(rendering: Rendering) -> dict[str, str]:
    """By the option of a datastore that would name them."""
    kept = rendering.keys.etcd
    return {"ca": kept["ca.crt"], "certificate": kept["client.crt"], "key": kept["client.key"]}


def certificates(rendering: Rendering) -> dict:
    return secret(rendering.metadata(CERTIFICATES), {name: rendering.keys.etcd[name] for name in FILES})


def _host(rendering: Rendering, number: int | str) -> str:
    return f"{ETCD}-{number}.{ETCD}.{rendering.namespace}.svc"


def _volume_claims(rendering: Rendering) -> list[dict]:
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": rendering.metadata(name, ETCD),
            "spec": _claim(rendering, memory_text(rendering.spec.volume)),
        }
        for name in CLAIMS
    ]


def _claim(rendering: Rendering, size: str) -> dict:
    storage_class = rendering.spec.storage_class
    return {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        **({"storageClassName": storage_class} if storage_class else {}),
    }


def _service(rendering: Rendering) -> dict:
    """Gives each member its name, from before it is ready: none is before it has found the others by theirs."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": rendering.metadata(ETCD),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": rendering.selector(ETCD),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                for name, port in (("client", CLIENT_PORT), ("peer", PEER_PORT))
            ],
        },
    }


def _disruption_budget(rendering: Rendering) -> dict:
    """Without two of three it stands still."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": rendering.metadata(ETCD),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": rendering.selector(ETCD)}},
    }


def _stateful_set(rendering: Rendering) -> dict:
    spec = rendering.spec
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": rendering.metadata(ETCD, ETCD),
        "spec": {
            "replicas": MEMBERS,
            "serviceName": ETCD,
            # None gets ready before there are two.
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": rendering.selector(ETCD)},
            "template": {
                "metadata": {
                    "labels": rendering.selector(ETCD),
                    "annotations": {CONFIG_HASH: fingerprint(rendering.keys.agent_token, dict(rendering.keys.etcd))},
                },
                "spec": {
                    "serviceAccountName": ETCD,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "priorityClassName": f"tenantry-{spec.tier}",
                    "terminationGracePeriodSeconds": STOP_SECONDS,
                    "securityContext": restricted(),
                    **_render_placement.fields(rendering, ETCD, spec.server_placement),
                    "containers": [_container(rendering)],
                    "volumes": [secret_volume("certificates", CERTIFICATES)],
                },
            },
            "volumeClaimTemplates": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "data"},
                    "spec": _claim(rendering, UNUSED_SIZE),
                }
            ],
        },
    }


def _container(rendering: Rendering) -> dict:
    spec = rendering.spec
    return {
        "name": ETCD,
        "image": spec.etcd.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/local/bin/etcd", *_arguments(rendering)],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in (("client", CLIENT_PORT), ("peer", PEER_PORT), ("health", HEALTH_PORT))
        ],
        "resources": requirements(spec.etcd.resources, spec.tier),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 2, "failureThreshold": 5},
        # One that waits for the others to come is well.
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "initialDelaySeconds": START_SECONDS},
        "volumeMounts": [
            {"name": "certificates", "mountPath": CERTIFICATE_DIRECTORY, "readOnly": True},
            {"name": "data", "mountPath": DATA_DIRECTORY},
        ],
    }


def _probe(path: str) -> dict:
    return {"httpGet": {"path": path, "port": HEALTH_PORT}, "timeoutSeconds": 15}


def _arguments(rendering: Rendering) -> list[str]:
    own = _host(rendering, 0).replace(f"{ETCD}-0", "$(POD_NAME)", 1)
    members = (f"{ETCD}-{number}=https://{_host(rendering, number)}:{PEER_PORT}" for number in range(MEMBERS))
    files = {
        "trusted-ca-file": "ca.crt",
        "cert-file": "server.crt",
        "key-file": "server.key",
        "peer-trusted-ca-file": "ca.crt",
        "peer-cert-file": "server.crt",
        "peer-key-file": "server.key",
        # A caller whose certificate names machines is looked up in the DNS, which may know his former address.
        "peer-client-cert-file": "client.crt",
        "peer-client-key-file": "client.key",
    }
    arguments = {
        "name": "$(POD_NAME)",
        "data-dir": f"{DATA_DIRECTORY}/{DATA}",
        "initial-cluster": ",".join(members),
        "initial-cluster-token": rendering.namespace,
        "initial-advertise-peer-urls": f"https://{own}:{PEER_PORT}",
        "advertise-client-urls": f"https://{own}:{CLIENT_PORT}",
        "listen-peer-urls": f"https://0.0.0.0:{PEER_PORT}",
        "listen-client-urls": f"https://0.0.0.0:{CLIENT_PORT}",
        "listen-metrics-urls": f"http://0.0.0.0:{HEALTH_PORT}",
        "client-cert-auth": "true",
        "peer-client-cert-auth": "true",
        "quota-backend-bytes": str(int(min(rendering.spec.volume / 2, LARGEST_QUOTA))),
        **{name: f"{CERTIFICATE_DIRECTORY}/{file}" for name, file in files.items()},
    }
    return [f"--{name}={value}" for name, value in arguments.items()]
