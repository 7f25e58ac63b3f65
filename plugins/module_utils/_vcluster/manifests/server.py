# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the server of a virtual cluster: k3s without an agent, its configuration and volume. Pure.

The server runs no containers, so its pod is unprivileged and not root.
"""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import K3S_CONTAINER, SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import restricted
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import (
    api_server,
    client_ca,
    etcd,
    scheduling,
    syncer,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    ACCOUNT,
    API_PORT,
    CLIENT_CA,
    CONFIG_DIRECTORY,
    CONFIG_HASH,
    DATA_DIRECTORY,
    DATA_LOCK,
    JOIN_TOKEN,
    K3S,
    PLATFORM_USER,
    SERVER_SHARE,
    STOP_SECONDS,
    TOKEN_DIRECTORY,
    RenderContext,
    as_yaml,
    own_priority,
    requirements,
    resolving,
    secret,
    secret_volume,
    stamp,
    volume_claim,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.datastore import FILES, KEYS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import CLUSTER_IP
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import merged_arguments
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import (
    FINISHED_PODS,
    MEBI,
    Resources,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import parse_version

CONFIG = "server-config"
MANIFESTS = "manifests"
MANIFESTS_DIRECTORY = "/etc/tenantry/manifests"
COPYING = Resources(Decimal("0.1"), 64 * MEBI)
VOLUME_CLAIM = "data-server-0"
# All CAs whose client certificates the API server accepts.
CLIENT_CAS = "/tmp/client-cas.crt"  # noqa: S108 - in the container
# Time without an answer of the API server before it is restarted: at its start, and later.
START_SECONDS = 300
HUNG_SECONDS = 80
# From this minor version on, the API server takes version v1 of its authentication configuration.
AUTHENTICATION_V1 = 34

# k3s creates the datastore's directory only at its default path.
#
# Two k3s on one SQLite lose what either writes, so the second waits for the lock. k3s inherits it open, and the kernel
# releases it when the last process of the container has ended, however it ended. SQLite itself needs a storage with
# locks; on another one flock fails, and nothing starts.
#
# The API server trusts client certificates of k3s's CA and of the platform's. k3s writes its own at the first start, or
# takes it from a datastore, within the first two minutes; until then the file has the platform's only. The API server
# reads it again when it changes. Where the platform's is not trusted, there is no file before k3s has written, and the
# API server, which starts a moment later, ends without one: so the first turns are short.
# Kubernetes makes a single dollar sign of two in a command, so the process is known by other means.
START = f"""\
(umask 077 && mkdir -p {DATA_DIRECTORY}/server/db)
exec 9>>{DATA_LOCK}
if ! flock -n 9; then
  echo "another process holds {DATA_LOCK}: waiting until it has ended" >&2
  flock 9 || exit 1
fi
renew() {{
  wanted=$({{
    [ -s {client_ca.DIRECTORY}/{client_ca.UNTRUSTED} ] || cat {client_ca.CERTIFICATE}
    cat {DATA_DIRECTORY}/server/tls/client-ca.crt
  }} 2>/dev/null)
  if [ "$wanted" != "$written" ]; then
    printf '%s\\n' "$wanted" >{CLIENT_CAS}.new && mv {CLIENT_CAS}.new {CLIENT_CAS} && written=$wanted
  fi
}}
written=
renew
read -r server _ </proc/self/stat
turns=0
nap() {{
  if [ "$turns" -lt 200 ]; then sleep 0.05 || sleep 1; else sleep $((turns < 320 ? 1 : 30)); fi
}}
(while kill -0 "$server" && nap; do
  renew
  turns=$((turns + 1))
done >/dev/null 2>&1 9>&- &)
exec {K3S} server
"""

# Before it works, the controller manager makes an account for each of its controllers. At its own 20 requests a second
# that takes 5 s, in which there is no account for pods either.
CONTROLLER_MANAGER_RATE = ("kube-api-qps=100", "kube-api-burst=300")
# So long is a certificate good that somebody asks for inside. Who asked may have left the tenant since, and only a new
# CA (_vcluster.client_ca_renewal) ends it sooner. Those of k3s and of its nodes are not meant: k3s signs them itself.
SIGNED_FOR = timedelta(hours=24)
SIGNING = f"cluster-signing-duration={SIGNED_FOR.days * 24}h"
# As long as that of any user can be, so that nobody makes one inside that never ends.
LONGEST_TOKEN = "service-account-max-token-expiration=8760h"  # noqa: S105 - an argument
# k3s has it on. A Secret would be a credential, for ever if it names no end; agents join by a token of k3s's own.
NO_BOOTSTRAP_TOKENS = "enable-bootstrap-token-auth=false"
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


def config(rendering: RenderContext) -> dict:
    """Return k3s's config.yaml. What tenants' pods need has k3s's defaults."""
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
        # Its only use here would be servicelb. Without it, the kubelet initializes nodes.
        "disable-cloud-controller": True,
        # The server is no node and has no route into the pod network: webhooks and exec go through the agents' tunnels.
        "egress-selector-mode": "pod" if spec.agents else "disabled",
        "service-cidr": spec.service_cidr,
        "tls-san": subject_names(rendering),
        "secrets-encryption": True,
        "kube-controller-manager-arg": [
            *CONTROLLER_MANAGER_RATE,
            SIGNING,
            *client_ca.ARGUMENTS,
            *(_shared_controllers() if spec.shared else ()),
        ],
        "kube-apiserver-arg": [
            f"client-ca-file={CLIENT_CAS}",
            f"authentication-config={CONFIG_DIRECTORY}/authentication.yaml",
            f"token-auth-file={CONFIG_DIRECTORY}/tokens.csv",
            LONGEST_TOKEN,
            NO_BOOTSTRAP_TOKENS,
            *api_server.arguments(),
        ],
    }
    return added(own, spec.k3s.server)


def added(ours: dict, given: dict) -> dict:
    """Return the configuration with the administrator's additions."""
    together = {**ours, **given}
    for key in given:
        if key.endswith("-arg"):
            together[key] = merged_arguments(ours.get(key, []), given[key])
    if "disable" in given:
        more = given["disable"] if isinstance(given["disable"], list) else str(given["disable"]).split(",")
        together["disable"] = sorted({*ours["disable"], *more})
    return together


def _datastore(rendering: RenderContext) -> dict:
    spec = rendering.spec
    if spec.shares_datastore:
        files = {KEYS[option]: f"{CONFIG_DIRECTORY}/{FILES[option]}" for option in _datastore_files(rendering)}
        endpoint = spec.datastore.endpoint if spec.datastore else etcd.endpoint(rendering)
        return {"datastore-endpoint": endpoint, **files}
    own = datastore_endpoint(spec.durability)
    return {"datastore-endpoint": own} if own else {}


def _datastore_files(rendering: RenderContext) -> dict[str, str]:
    """Return PEM by option."""
    spec = rendering.spec
    if spec.etcd:
        return etcd.client_files(rendering)
    return dict(spec.datastore.files) if spec.datastore else {}


def _services(rendering: RenderContext) -> dict[str, str]:
    """Return the host's Services that k3s is given by name."""
    datastore = rendering.spec.datastore
    return {**etcd.addresses(rendering), **({datastore.host: rendering.datastore_ip} if datastore else {})}


def datastore_endpoint(durability: str, directory: str = DATA_DIRECTORY) -> str | None:
    """Return the SQLite endpoint with `synchronous` for this durability, or None for k3s's own.

    k3s's own is NORMAL: a committed transaction survives the end of the process, but not always a power failure.
    """
    if durability == "normal":
        return None
    options = "_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate&_synchronous=FULL"
    return f"sqlite://{directory}/server/db/state.db?{options}"


def _shared_pods(rendering: RenderContext) -> dict:
    """Return the configuration for pods that run on the host with its addresses."""
    return {
        "cluster-dns": rendering.dns_ip,
        "disable-scheduler": True,
    }


def _shared_controllers() -> list[str]:
    return [
        f"controllers={','.join(SHARED_CONTROLLERS)}",
        "allocate-node-cidrs=false",
        f"terminated-pod-gc-threshold={FINISHED_PODS}",
    ]


def subject_names(rendering: RenderContext) -> list[str]:
    """Return the names for the certificate: exactly those by which the API is reached."""
    names = [rendering.api_name, f"{rendering.api_name}.cluster.local"]
    names.append(rendering.cluster_ip if rendering.spec.exposure.type == CLUSTER_IP else rendering.address)
    names.append(rendering.kubernetes_ip)
    return [name for name in names if name]


def authentication(rendering: RenderContext) -> dict:
    """Return the authentication configuration.

    k3s denies all requests without a credential, including the kubelet's probes, so two paths are exempt. An issuer is
    configured here, because its flags are mutually exclusive with a file and have no rules.
    """
    return {
        "apiVersion": authentication_api(rendering.spec.version),
        "kind": "AuthenticationConfiguration",
        **({"jwt": [rendering.spec.oidc.authenticator()]} if rendering.spec.oidc else {}),
        "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}, {"path": "/readyz"}]},
    }


def config_secrets(rendering: RenderContext) -> list[dict]:
    """Render the Secrets with configuration and manifests."""
    found = [secret(rendering.metadata(CONFIG), _files(rendering))]
    if rendering.spec.k3s.manifests:
        found.append(secret(rendering.metadata(MANIFESTS), {"manifests.yaml": rendering.spec.k3s.manifests}))
    return found


def authentication_api(version: str) -> str:
    """Return the API version of the authentication configuration for this release."""
    return f"apiserver.config.k8s.io/{'v1' if parse_version(version)[0] >= AUTHENTICATION_V1 else 'v1beta1'}"


def volume_claims(rendering: RenderContext) -> list[dict]:
    return [] if rendering.spec.server_volume is None else [volume_claim(rendering, VOLUME_CLAIM, SERVER)]


def stateful_set(rendering: RenderContext) -> dict:
    """Render the StatefulSet of the servers."""
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
                    "annotations": {
                        CONFIG_HASH: stamp(rendering.keys.agent_token, config_secrets(rendering)),
                        client_ca.ANNOTATION: client_ca.fingerprint(rendering.keys.client_ca),
                    },
                },
                "spec": _pod(rendering),
            },
        },
    }


def _files(rendering: RenderContext) -> dict[str, str]:
    identities = f'{rendering.keys.platform_token},{PLATFORM_USER},{PLATFORM_USER},"system:masters"\n'
    if rendering.spec.shared:
        identities += syncer.identity(rendering)
    return {
        "config.yaml": as_yaml(config(rendering)),
        "authentication.yaml": as_yaml(authentication(rendering)),
        "tokens.csv": identities,
        **{FILES[option]: pem for option, pem in _datastore_files(rendering).items()},
        **api_server.files(rendering),
    }


def _pod(rendering: RenderContext) -> dict:
    spec = rendering.spec
    if spec.server_volume is None:
        data: dict = {"name": "data", "emptyDir": {}}
    else:
        data = {"name": "data", "persistentVolumeClaim": {"claimName": VOLUME_CLAIM}}
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": own_priority(spec.tier),
        "terminationGracePeriodSeconds": STOP_SECONDS,
        # k3s as process 1 would start itself a second time to reap orphans.
        "shareProcessNamespace": True,
        "securityContext": restricted(),
        **resolving(_services(rendering)),
        **scheduling.fields(rendering, SERVER, spec.server_placement),
        **({"initContainers": [_manifests_container(rendering)]} if spec.k3s.manifests else {}),
        "containers": [_container(rendering)],
        "volumes": [
            secret_volume("config", CONFIG),
            secret_volume("token", JOIN_TOKEN, {"server-token": "server-token", "agent-token": "agent-token"}),
            secret_volume(CLIENT_CA, CLIENT_CA),
            data,
            {"name": "tmp", "emptyDir": {}},
            *([secret_volume(MANIFESTS, MANIFESTS)] if spec.k3s.manifests else []),
        ],
    }


def _manifests_container(rendering: RenderContext) -> dict:
    """Render the init container that copies manifests to the volume.

    A mount in k3s's directory would create parent directories owned by root, to which k3s cannot write.
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


def _container(rendering: RenderContext) -> dict:
    spec = rendering.spec
    return {
        "name": K3S_CONTAINER,
        "image": spec.image_reference,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", START],
        # Go takes two at least, which wake each other in an idle server and use up its time in a busy one.
        "env": [{"name": "GOMAXPROCS", "value": str(math.ceil(spec.server.cpu))}],
        "ports": [{"name": "https", "containerPort": API_PORT, "protocol": "TCP"}],
        "resources": requirements(spec.server, spec.tier, SERVER_SHARE),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        # Every second only until it is ready: each costs a TLS handshake. One without an answer takes its timeout.
        "startupProbe": {**_probe("/readyz", timeout=2), "periodSeconds": 1, "failureThreshold": START_SECONDS},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 20, "failureThreshold": HUNG_SECONDS // 20},
        **rendering.lifecycle,
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            {"name": CLIENT_CA, "mountPath": client_ca.DIRECTORY, "readOnly": True},
            {"name": "data", "mountPath": DATA_DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
        ],
    }


def _probe(path: str, timeout: int = 10) -> dict:
    return {"httpGet": {"scheme": "HTTPS", "path": path, "port": API_PORT}, "timeoutSeconds": timeout}
