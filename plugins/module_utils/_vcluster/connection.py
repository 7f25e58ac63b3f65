# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connect to a virtual cluster through its host's API server, by a websocket port-forward to a server pod.

So exposure and firewalls do not matter to the administrator's tools. TLS in the tunnel is verified against the CA,
which is read through it at first contact and stored on the host: an attacker who could forge the answer at that moment
controls the host already.
"""

from __future__ import annotations

import ssl

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError, api_error
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import PART_LABEL, SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.port_forward import pool_through
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import POD, SECRET, SERVICE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded_value
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    API_SERVICE,
    PLATFORM_CREDENTIAL,
)

try:
    from urllib3 import disable_warnings
    from urllib3.exceptions import HTTPError, InsecureRequestWarning

    disable_warnings(InsecureRequestWarning)  # _get_unverified is the only one, and says why
except ImportError:
    HTTPError = OSError  # type: ignore[assignment,misc]  # reported once, by _module.main()

SERVER_POD = f"{SERVER}-0"


def inside(host: Cluster, namespace: str) -> Cluster:
    """Connect to the virtual cluster in this namespace of the host with the platform's credential."""
    secret = host.get(SECRET, PLATFORM_CREDENTIAL, namespace)
    data = (secret or {}).get("data") or {}
    if not data.get("token") or not data.get("ca.crt"):
        raise TenantryError(
            f"the virtual cluster {namespace} on {host.name} was never ready. "
            "Run tenantry.kube.vcluster for it with wait, then run again"
        )
    return connect(host, namespace, token=decoded_value(data["token"]), ca_data=data["ca.crt"])


def connect(host: Cluster, namespace: str, *, token: str, ca_data: str) -> Cluster:
    """Connect with this token. `ca_data` is base64 of PEM."""
    config = {
        "clusters": [{"cluster": {"server": _url(namespace), "certificate-authority-data": ca_data}}],
        "users": [{"user": {"token": token}}],
    }
    found = Cluster.from_kubeconfig(
        config, name=namespace, timeout=host.timeout, connection_pool=_pool_through(host, namespace)
    )
    found.requester = host.requester
    return found


def authority(host: Cluster, namespace: str) -> str:
    """Read the CA of a virtual cluster at first contact, as PEM."""
    doing = f"reading the CA of {namespace} on {host.name}"
    text = _get_unverified(host, namespace, "/cacerts", doing)
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ApiError(f"{doing}: the answer has no certificate; is it k3s?")
    return text


def ready(host: Cluster, namespace: str) -> None:
    """Return if the API server of a virtual cluster is ready. Raise an ApiError otherwise."""
    _get_unverified(host, namespace, "/readyz", f"asking whether {namespace} on {host.name} is ready")


def _get_unverified(host: Cluster, namespace: str, path: str, doing: str) -> str:
    """Send a request without verification, because the CA is not known yet."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    pool = _pool_through(host, namespace)(SERVER_POD, API_PORT, ssl_context=unverified, timeout=host.timeout)
    try:
        response = pool.request("GET", path, retries=False)
    except (HTTPError, OSError) as error:
        raise api_error(error, doing) from None
    finally:
        pool.close()
    text = response.data.decode(errors="replace")
    if response.status != 200:
        raise ApiError(f"{doing}: the server answered {response.status}; is it k3s?")
    return text


def endpoint(vcluster: VirtualCluster) -> str:
    """Return the URL at which users reach a virtual cluster."""
    host, name = vcluster.host, vcluster.namespace
    service = host.get(SERVICE, API_SERVICE, name)
    if service is None:
        raise TenantryError(f"Service {API_SERVICE} in {name} on {host.name} is missing. Run tenantry.kube.vcluster")
    record = vcluster.record
    return exposure.url_of(service, record.expose, record.address)


def _url(namespace: str) -> str:
    """Return a URL with a name that the certificate always contains. It is never resolved."""
    return f"https://{API_SERVICE}.{namespace}.svc:{API_PORT}"


def _pool_through(host: Cluster, namespace: str) -> type:
    """Return connections to the API through whichever server is ready."""
    return pool_through(host, namespace, lambda: serving_pod(host, namespace), API_PORT)


def serving_pod(host: Cluster, namespace: str) -> str:
    """Return the name of the first ready server or, if none is, of the first, which may answer nevertheless."""
    staying = [pod for pod in server_pods(host, namespace) if not pod["metadata"].get("deletionTimestamp")]
    return min((pod["metadata"]["name"] for pod in staying if is_ready(pod)), default=SERVER_POD)


def server_pods(host: Cluster, namespace: str) -> list[dict]:
    """Return the pods of the servers."""
    return pods_of(host, namespace, SERVER)


def pods_of(host: Cluster, namespace: str, *parts: str) -> list[dict]:
    """Return the platform's pods of these parts, with one LIST.

    The label excludes pods of a syncer, which could imitate them. Several parts are selected here, because the platform
    has only a few more pods in a namespace.
    """
    labels = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY}
    if len(parts) == 1:
        labels[PART_LABEL] = parts[0]
    pods = host.list(POD, namespace, naming.selecting(labels))
    return [pod for pod in pods if pod["metadata"]["labels"].get(PART_LABEL) in parts]
