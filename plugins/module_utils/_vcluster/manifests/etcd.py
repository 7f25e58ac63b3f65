# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the etcd of three servers: three members, each with a stable name and a volume. Pure.

k3s's embedded etcd identifies members by addresses, which pods change (docs/high-availability.md). These use names of
the host's DNS.
"""

from __future__ import annotations

from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import ETCD
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import restricted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import scheduling
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    CONFIG_HASH,
    STOP_SECONDS,
    RenderContext,
    claim_spec,
    disruption_budget,
    fingerprint,
    names_service,
    own_priority,
    requirements,
    secret,
    secret_volume,
    service_account,
    volume_claim,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd_certificates import FILES
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import MEBI

MEMBERS = 3
CERTIFICATES = "etcd-certificates"
CERTIFICATE_DIRECTORY = "/etc/tenantry/etcd"
DATA_DIRECTORY = "/var/lib/etcd"
DATA = "data"  # in it
CLIENT_PORT = 2379
PEER_PORT = 2380
HEALTH_PORT = 2381
POD_NAME = "statefulset.kubernetes.io/pod-name"
NAMES = tuple(f"{ETCD}-{number}" for number in range(MEMBERS))
CLAIMS = tuple(f"data-{name}" for name in NAMES)
# Never used: the claims are created before. A claim template could not be changed, so volumes could not grow.
UNUSED_SIZE = "1Gi"
# etcd itself advises against more. Of a volume, the log and the copies of it need the other half.
LARGEST_QUOTA = 8 * 1024 * MEBI
START_SECONDS = 240


def services(rendering: RenderContext) -> list[dict]:
    """Render a Service for each member. Servers connect to its address; members use DNS names."""
    if rendering.spec.etcd is None:
        return []
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": rendering.metadata(member),
            "spec": {
                "type": "ClusterIP",
                "publishNotReadyAddresses": True,
                "selector": {**rendering.selector(ETCD), POD_NAME: member},
                "ports": [{"name": "client", "port": CLIENT_PORT, "targetPort": CLIENT_PORT, "protocol": "TCP"}],
            },
        }
        for member in NAMES
    ]


def addresses(rendering: RenderContext) -> dict[str, str]:
    """Return the members' addresses by the names that k3s is given, which their certificates have."""
    return {_host(rendering, member): address for member, address in zip(NAMES, rendering.etcd_ips, strict=False)}


def objects(rendering: RenderContext) -> list[dict]:
    """Render all objects; none without etcd."""
    if rendering.spec.etcd is None:
        return []
    return [
        service_account(rendering.metadata(ETCD)),
        certificates(rendering),
        *(volume_claim(rendering, claim, ETCD) for claim in CLAIMS),
        names_service(rendering, ETCD, {"client": CLIENT_PORT, "peer": PEER_PORT}),
        disruption_budget(rendering, ETCD),
        _stateful_set(rendering),
    ]


def endpoint(rendering: RenderContext) -> str:
    """Return k3s's datastore-endpoint."""
    return ",".join(f"https://{_host(rendering, member)}:{CLIENT_PORT}" for member in NAMES)


def client_files(rendering: RenderContext) -> dict[str, str]:
    """Return PEM by the datastore option that names its file."""
    kept = rendering.keys.etcd
    return {"ca": kept["ca.crt"], "certificate": kept["client.crt"], "key": kept["client.key"]}


def certificates(rendering: RenderContext) -> dict:
    return secret(rendering.metadata(CERTIFICATES), {name: rendering.keys.etcd[name] for name in FILES})


def _host(rendering: RenderContext, member: str) -> str:
    return f"{member}.{ETCD}.{rendering.namespace}.svc"


def _stateful_set(rendering: RenderContext) -> dict:
    spec = rendering.spec
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": rendering.metadata(ETCD, ETCD),
        "spec": {
            "replicas": MEMBERS,
            "serviceName": ETCD,
            # No member is ready before two run.
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
                    "priorityClassName": own_priority(spec.tier),
                    "terminationGracePeriodSeconds": STOP_SECONDS,
                    "securityContext": restricted(),
                    **scheduling.fields(rendering, ETCD, spec.server_placement),
                    "containers": [_container(rendering)],
                    "volumes": [secret_volume("certificates", CERTIFICATES)],
                },
            },
            "volumeClaimTemplates": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "data"},
                    "spec": claim_spec(rendering, UNUSED_SIZE),
                }
            ],
        },
    }


def _container(rendering: RenderContext) -> dict:
    own = require(rendering.spec.etcd, "the spec of etcd")
    return {
        "name": ETCD,
        "image": own.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/local/bin/etcd", *_arguments(rendering)],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in (("client", CLIENT_PORT), ("peer", PEER_PORT), ("health", HEALTH_PORT))
        ],
        "resources": requirements(own.resources, rendering.spec.tier),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 2, "failureThreshold": 5},
        # A member that waits for the others is healthy.
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "initialDelaySeconds": START_SECONDS},
        "volumeMounts": [
            {"name": "certificates", "mountPath": CERTIFICATE_DIRECTORY, "readOnly": True},
            {"name": "data", "mountPath": DATA_DIRECTORY},
        ],
    }


def _probe(path: str) -> dict:
    return {"httpGet": {"path": path, "port": HEALTH_PORT}, "timeoutSeconds": 15}


def _arguments(rendering: RenderContext) -> list[str]:
    own = _host(rendering, "$(POD_NAME)")
    volume = require(rendering.spec.volume, "the size of the volume")
    members = (f"{member}=https://{_host(rendering, member)}:{PEER_PORT}" for member in NAMES)
    files = {
        "trusted-ca-file": "ca.crt",
        "cert-file": "server.crt",
        "key-file": "server.key",
        "peer-trusted-ca-file": "ca.crt",
        "peer-cert-file": "server.crt",
        "peer-key-file": "server.key",
        # etcd resolves the DNS names in a client certificate, which may still have a former address.
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
        "quota-backend-bytes": str(int(min(volume / 2, Decimal(LARGEST_QUOTA)))),
        **{name: f"{CERTIFICATE_DIRECTORY}/{file}" for name, file in files.items()},
    }
    return [f"--{name}={value}" for name, value in arguments.items()]
