# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server of a virtual cluster: k3s without an agent, its configuration and its volume. Pure.

The server runs no containers, so it needs no privilege: it is neither root nor able to become it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import api_server as _render_hardening
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import etcd as _render_etcd
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import scheduling as _render_placement
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer as _render_syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    CONFIG_DIRECTORY,
    CONFIG_HASH,
    DATA_DIRECTORY,
    JOIN_TOKEN,
    K3S,
    PLATFORM_USER,
    SERVER,
    STOP_SECONDS,
    TOKEN_DIRECTORY,
    Rendering,
    as_yaml,
    fingerprint,
    requirements,
    restricted,
    secret,
    secret_volume,
    volume_claim,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.datastore import FILES, KEYS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import CLUSTER_IP
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import merged_arguments
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import MEBI, Resources
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import parse_version

CONFIG = "server-config"
MANIFESTS = "manifests"
MANIFESTS_DIRECTORY = "/etc/tenantry/manifests"
COPYING = Resources(Decimal("0.1"), 64 * MEBI)
VOLUME_CLAIM = "data-server-0"
# So long may the API server not answer before it is started anew: at its start, and later.
START_SECONDS = 300
HUNG_SECONDS = 80
# From this minor version on, the API server takes version v1 of its authentication configuration.
AUTHENTICATION_V1 = 34

# k3s makes the directory of its datastore only where it chooses that itself.
START = f"""\
(umask 077 && mkdir -p {DATA_DIRECTORY}/server/db)
exec {K3S} server
"""

# Before it works, the controller manager makes an account for each of its controllers. At its own 20 requests a second
# that takes 5 s, in which there is no account for pods either.
ASKING = ("kube-api-qps=100", "kube-api-burst=300")
# In mode shared the host schedules, binds volumes and knows whether a node is well; from inside that looks like
# volumes nobody serves and nodes that went silent. The first two are k3s's own choice.
SHARED_CONTROLLERS = (
    "*",
    "tokencleaner",
    "-node-ipam-controller",
    "-node-lifecycle-controller",
    "-persistentvolume-attach-detach-controller",
    "-persistentvolume-binder-controller",
    "-persistentvolume-expander-controller",
    "-taint-eviction-controller",
)


def config(rendering: Rendering) -> dict:
    """k3s's config.yaml. Every key is one of k3s; what a tenant's pods need is left at k3s's defaults."""
    spec = rendering.spec
    disabled = ["local-storage", "metrics-server", "servicelb", "traefik"]
    if not spec.agents and not spec.shared:
        disabled.append("coredns")
    pods = _shared_pods(rendering) if spec.shared else {"cluster-cidr": spec.cluster_cidr}
    own = {
        **pods,
        **_datastore(rendering),
        "data-dir": DATA_DIRECTORY,
        "write-kubeconfig": f"{DATA_DIRECTORY}/server/cred/local.kubeconfig",
        "token-file": f"{TOKEN_DIRECTORY}/server-token",
        "agent-token-file": f"{TOKEN_DIRECTORY}/agent-token",
        "disable-agent": True,
        "disable": sorted(disabled),
        # Its only use here would be servicelb; without it nodes are initialised by the kubelet itself.
        "disable-cloud-controller": True,
        # The server is no node and has no route into the pod network: webhooks and exec go through the agents' tunnels.
        "egress-selector-mode": "pod" if spec.agents else "disabled",
        "service-cidr": spec.service_cidr,
        "tls-san": subject_names(rendering),
        "secrets-encryption": True,
        "kube-controller-manager-arg": [*ASKING, *(_shared_controllers() if spec.shared else ())],
        "kube-apiserver-arg": [
            f"authentication-config={CONFIG_DIRECTORY}/authentication.yaml",
            f"token-auth-file={CONFIG_DIRECTORY}/tokens.csv",
            *_render_hardening.arguments(),
        ],
    }
    return added(own, spec.k3s.server)


def added(ours: dict, given: dict) -> dict:
    """With what the administrator adds to the configuration of k3s."""
    together = {**ours, **given}
    for key in given:
        if key.endswith("-arg"):
            together[key] = merged_arguments(ours.get(key, []), given[key])
    if "disable" in given:
        more = given["disable"] if isinstance(given["disable"], list) else str(given["disable"]).split(",")
        together["disable"] = sorted({*ours["disable"], *more})
    return together


def _datastore(rendering: Rendering) -> dict:
    spec = rendering.spec
    if spec.shares_datastore:
        files = {KEYS[option]: f"{CONFIG_DIRECTORY}/{FILES[option]}" for option in _datastore_files(rendering)}
        endpoint = _render_etcd.endpoint(rendering) if spec.etcd else spec.datastore.endpoint
        return {"datastore-endpoint": endpoint, **files}
    endpoint = datastore_endpoint(spec.durability)
    return {"datastore-endpoint": endpoint} if endpoint else {}


def _datastore_files(rendering: Rendering) -> dict[str, str]:
    """PEM by option."""
    spec = rendering.spec
    if spec.etcd:
        return _render_etcd.client_files(rendering)
    return dict(spec.datastore.files) if spec.datastore else {}


def datastore_endpoint(durability: str, directory: str = DATA_DIRECTORY) -> str | None:
    """
    SQLite as k3s has it, but for its synchronous mode; None for k3s's own.

    That is NORMAL: what was acknowledged survives the end of the process, but may be lost when the machine loses power.
    """
    if durability == "normal":
        return None
    options = "_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate&_synchronous=FULL"
    return f"sqlite://{directory}/server/db/state.db?{options}"


def _shared_pods(rendering: Rendering) -> dict:
    """For pods that run on the host, with addresses of the host."""
    return {
        "cluster-dns": rendering.dns_ip,
        "disable-scheduler": True,
    }


def _shared_controllers() -> list[str]:
    return [f"controllers={','.join(SHARED_CONTROLLERS)}", "allocate-node-cidrs=false"]


def subject_names(rendering: Rendering) -> list[str]:
    """Exactly the names by which this API is reached."""
    names = [rendering.api_name, f"{rendering.api_name}.cluster.local"]
    names.append(rendering.cluster_ip if rendering.spec.exposure.type == CLUSTER_IP else rendering.address)
    names.append(rendering.kubernetes_ip)
    return [name for name in names if name]


def authentication(rendering: Rendering) -> dict:
    """
    k3s refuses all requests without a credential, the kubelet's probes too; these two paths are let through.

    An issuer of people's tokens is told here and not by flags: these cannot stand beside a file, and know no rules.
    """
    return {
        "apiVersion": authentication_api(rendering.spec.version),
        "kind": "AuthenticationConfiguration",
        **({"jwt": [rendering.spec.oidc.authenticator()]} if rendering.spec.oidc else {}),
        "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}, {"path": "/readyz"}]},
    }


def config_secrets(rendering: Rendering) -> list[dict]:
    found = [secret(rendering.metadata(CONFIG), _files(rendering))]
    if rendering.spec.k3s.manifests:
        found.append(secret(rendering.metadata(MANIFESTS), {"manifests.yaml": rendering.spec.k3s.manifests}))
    return found


def authentication_api(version: str) -> str:
    """The version of the API that the authentication configuration has to have for this release."""
    return f"apiserver.config.k8s.io/{'v1' if parse_version(version)[0] >= AUTHENTICATION_V1 else 'v1beta1'}"


def volume_claims(rendering: Rendering) -> list[dict]:
    return [] if rendering.spec.server_volume is None else [volume_claim(rendering, VOLUME_CLAIM, SERVER)]


def stateful_set(rendering: Rendering) -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": rendering.metadata(SERVER, SERVER),
        "spec": {
            "replicas": rendering.spec.servers,
            "serviceName": SERVER,
            # Servers that share a datastore need not wait for one another. It cannot be changed, and neither can that.
            **({"podManagementPolicy": "Parallel"} if rendering.spec.shares_datastore else {}),
            "selector": {"matchLabels": rendering.selector(SERVER)},
            "template": {
                "metadata": {
                    "labels": rendering.selector(SERVER),
                    "annotations": {CONFIG_HASH: _stamp(rendering)},
                },
                "spec": _pod(rendering),
            },
        },
    }


def _stamp(rendering: Rendering) -> str:
    secrets = config_secrets(rendering)
    if rendering.spec.shared:
        secrets.append(_render_syncer.config_secret(rendering))
    return stamp(rendering.keys.agent_token, secrets)


def stamp(agent_token: str, secrets: Iterable[dict]) -> str:
    """Of the files in these Secrets. Not keyed by the server's token, which a restore replaces with the data."""
    data = {name: value for one in secrets for name, value in one["data"].items()}
    return fingerprint(agent_token, {name: base64.b64decode(value).decode() for name, value in data.items()})


def _files(rendering: Rendering) -> dict[str, str]:
    identities = f'{rendering.keys.platform_token},{PLATFORM_USER},{PLATFORM_USER},"system:masters"\n'
    if rendering.spec.shared:
        identities += _render_syncer.identity(rendering)
    return {
        "config.yaml": as_yaml(config(rendering)),
        "authentication.yaml": as_yaml(authentication(rendering)),
        "tokens.csv": identities,
        **{FILES[option]: pem for option, pem in _datastore_files(rendering).items()},
        **_render_hardening.files(rendering),
    }


def _pod(rendering: Rendering) -> dict:
    spec = rendering.spec
    if spec.server_volume is None:
        data: dict = {"name": "data", "emptyDir": {}}
    else:
        data = {"name": "data", "persistentVolumeClaim": {"claimName": VOLUME_CLAIM}}
    return {
        "serviceAccountName": _render_syncer.NAME if spec.shared else "vcluster",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": f"tenantry-{spec.tier}",
        "terminationGracePeriodSeconds": STOP_SECONDS,
        # k3s as process 1 would start itself a second time to reap orphans.
        "shareProcessNamespace": True,
        "securityContext": restricted(),
        **_render_placement.fields(rendering, SERVER, spec.server_placement),
        **({"initContainers": [_manifests_container(rendering)]} if spec.k3s.manifests else {}),
        "containers": [_container(rendering), *([_render_syncer.container(rendering)] if spec.shared else [])],
        "volumes": [
            secret_volume("config", CONFIG),
            secret_volume("token", JOIN_TOKEN, {"server-token": "server-token", "agent-token": "agent-token"}),
            data,
            {"name": "tmp", "emptyDir": {}},
            *([secret_volume(MANIFESTS, MANIFESTS)] if spec.k3s.manifests else []),
            *(_render_syncer.volumes() if spec.shared else []),
        ],
    }


def _manifests_container(rendering: Rendering) -> dict:
    """
    Puts them where k3s looks for them, on the volume. A mount there would have directories made by root above it, in
    which k3s, who is not root, could write nothing.
    """
    directory = f"{DATA_DIRECTORY}/server/manifests"
    # By force: the copy of the pod before this one is read-only, as what is mounted from a Secret is.
    copy = f"umask 077 && mkdir -p {directory} && cp -f {MANIFESTS_DIRECTORY}/manifests.yaml {directory}/tenantry.yaml"
    return {
        "name": MANIFESTS,
        "image": rendering.spec.image_reference,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", copy],
        "resources": requirements(COPYING, rendering.spec.tier),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": MANIFESTS, "mountPath": MANIFESTS_DIRECTORY, "readOnly": True},
            {"name": "data", "mountPath": DATA_DIRECTORY},
        ],
    }


def _container(rendering: Rendering) -> dict:
    spec = rendering.spec
    return {
        "name": "k3s",
        "image": spec.image_reference,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", START],
        "ports": [{"name": "https", "containerPort": API_PORT, "protocol": "TCP"}],
        "resources": requirements(spec.server, spec.tier),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        # Somebody waits for readiness, and a kubelet acts upon a startup probe's success up to a second later only: so
        # there is none, and a slow start has its time by the delay.
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 1, "failureThreshold": 15},
        "livenessProbe": {
            **_probe("/livez"),
            "periodSeconds": 10,
            "failureThreshold": HUNG_SECONDS // 10,
            "initialDelaySeconds": START_SECONDS - HUNG_SECONDS,
        },
        **rendering.lifecycle,
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            {"name": "data", "mountPath": DATA_DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
        ],
    }


def _probe(path: str) -> dict:
    return {"httpGet": {"scheme": "HTTPS", "path": path, "port": API_PORT}, "timeoutSeconds": 10}
