"""What the tests of users share: virtual clusters without pods, and what a kubeconfig may do."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._self_service import requests
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .harness import PLATFORM_TOKEN, ModuleResult, call_module, kubectl, ran, until, writes

User = Callable[..., ModuleResult]


def add_vcluster(hub: Path, tenant: str, name: str, **recorded: Any) -> None:
    """As much of a virtual cluster as quotas and users look at: its namespace, with its record."""
    metadata = {
        "name": f"{tenant}--{name}",
        "labels": labels_of(tenant, name),
        "annotations": {"tenantry.dev/spec": json.dumps(recorded)},
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    made = kubectl(hub, "create", "-f", "-", stdin=json.dumps(space))
    assert made.returncode == 0, made.stderr


@contextmanager
def silent_member(hub: Path, name: str = "edge") -> Iterator[None]:
    """The entry of a member at an address where nothing listens."""
    way = yaml.safe_load(hub.read_text())
    way["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    labels = {
        "app.kubernetes.io/managed-by": "tenantry.kube",
        "tenantry.dev/component": "member",
        "tenantry.dev/member": name,
    }
    entry = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"member-{name}", "namespace": "tenantry-system", "labels": labels},
        "type": "tenantry.dev/member",
        "stringData": {"kubeconfig": json.dumps(way)},
    }
    ran(hub, "create", "-f", "-", stdin=json.dumps(entry))
    try:
        yield
    finally:
        ran(hub, "delete", "secret", f"member-{name}", "-n", "tenantry-system")


def lose_promises(hub: Path, tenant: str) -> None:
    """As an earlier release left the record of the tenant."""
    ran(hub, "annotate", "configmap", "tenant", "-n", f"tenant-{tenant}", f"{promises.ANNOTATION}-")


def until_counted(hub: Path, home: str) -> None:
    """
    Until Kubernetes counts requests there; it refuses them before. Its controller looks for new kinds every 30 s, and
    at a quota that it has seen every 5 minutes or when that changes.
    """
    where = ("resourcequota", "tenant", "-n", home)

    def quota() -> dict[str, Any]:
        return json.loads(ran(hub, "get", *where, "-o", "json"))

    def seen_with(pods: str) -> bool:
        return quota().get("status", {}).get("hard", {}).get("pods") == pods

    def counted() -> bool:
        found = quota()
        if set(hard := found["spec"]["hard"]) <= set(found.get("status", {}).get("used", {})):
            return True
        for pods in ("1", hard["pods"]):
            ran(hub, "patch", *where, "-p", json.dumps({"spec": {"hard": {"pods": pods}}}))
            until(partial(seen_with, pods))
        return False

    until(counted, 120)


def until_old_enough(hub: Path, home: str) -> None:
    """Until the users of a tenant may ask for something: who is as old as a request may not be who made it."""
    until_counted(hub, home)
    since = json.loads(ran(hub, "get", "serviceaccounts", "-n", home, "-o", "json"))["items"]
    youngest = max(moment(one["metadata"]["creationTimestamp"]) for one in since)
    until(lambda: requests.clock() >= youngest + timedelta(seconds=1))


def labels_of(tenant: str, name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "tenantry.kube",
        "tenantry.dev/component": "vcluster",
        "tenantry.dev/tenant": tenant,
        "tenantry.dev/vcluster": name,
    }


@contextmanager
def tenant_with(hub: Path, tenant: str, insides: dict[str, Path], **recorded: Any) -> Iterator[None]:
    """A tenant whose virtual clusters, by name, are other API servers: how the platform gets in is left out."""
    assert not call_module("tenant_quota", kubeconfig=hub, tenant=tenant).failed
    spaces = {f"{tenant}--{name}": inside for name, inside in insides.items()}
    for name in insides:
        add_vcluster(hub, tenant, name, **recorded)
    known_inside, known_endpoint = connection.inside, connection.endpoint

    def inside(host: Cluster, namespace: str) -> Cluster:
        if namespace not in spaces:
            return known_inside(host, namespace)
        config = kubeconfig_files.load(str(spaces[namespace]))
        if spaces[namespace].with_name("tokens.csv").exists():
            config["users"] = [{"name": "platform", "user": {"token": PLATFORM_TOKEN}}]
        found = Cluster.from_kubeconfig(config, name=namespace)
        found.requester = host.requester
        return found

    def endpoint(vcluster: VirtualCluster) -> str:
        name = vcluster.namespace
        return server(spaces[name]) if name in spaces else known_endpoint(vcluster)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "inside", inside)
        patch.setattr(connection, "endpoint", endpoint)
        yield
    kubectl(hub, "delete", "namespace", *spaces)
    removed = call_module("tenant_quota", kubeconfig=hub, tenant=tenant, state="absent")
    assert not removed.failed, removed.msg


def signed_inside(
    cluster: Path,
    name: str,
    *,
    groups: Sequence[str] = (),
    seconds: int | None = None,
    signer: str = "kube-apiserver-client",
) -> dict[str, str]:
    """A client certificate that an administrator has the cluster sign, as the user of a kubeconfig."""
    key = ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    request_name = f"csr-{uuid.uuid4().hex[:8]}"
    spec = {
        "request": base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": f"kubernetes.io/{signer}",
        "usages": ["digital signature", "client auth"],
        **({"expirationSeconds": seconds} if seconds else {}),
    }
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    ran(cluster, "create", "-f", "-", stdin=json.dumps({**kind, "metadata": {"name": request_name}, "spec": spec}))
    ran(cluster, "certificate", "approve", request_name)
    signed = until(lambda: ran(cluster, "get", "csr", request_name, "-o", "jsonpath={.status.certificate}"))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"client-certificate-data": signed, "client-key-data": base64.b64encode(pem).decode()}


def joining(kubeconfig: Path, token: str) -> int:
    """The status of the first request of a node that joins."""
    cluster = Cluster.from_kubeconfig(kubeconfig_files.load(str(kubeconfig)), name=kubeconfig.stem)
    login = base64.b64encode(f"node:{token}".encode()).decode()
    asked = urllib.request.Request(
        f"{cluster.server}/v1-k3s/client-ca.crt", headers={"Authorization": f"Basic {login}"}
    )
    trusted = ssl.create_default_context(cadata=base64.b64decode(cluster.ca_data).decode())
    trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with urllib.request.urlopen(asked, context=trusted, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def server(kubeconfig: Path) -> str:
    return yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]


def can(kubeconfig: Path, context: str, *question: str) -> bool:
    return kubectl(kubeconfig, "--context", context, "auth", "can-i", *question).stdout.strip() == "yes"


def is_known(kubeconfig: Path, context: str) -> bool:
    return kubectl(kubeconfig, "--context", context, "auth", "whoami").returncode == 0


def is_refused(kubeconfig: Path, context: str) -> bool:
    """Within a minute: an API server remembers a good token for ten seconds."""
    end = time.monotonic() + 60
    while is_known(kubeconfig, context) and time.monotonic() < end:
        time.sleep(0.2)
    return "Unauthorized" in kubectl(kubeconfig, "--context", context, "auth", "whoami").stderr


def await_policy(refusal: Callable[[], int]) -> None:
    """An API server enforces an admission policy a moment after it was made; nothing tells when."""
    end = time.monotonic() + 10
    while not refusal() and time.monotonic() < end:
        time.sleep(0.1)


def contexts(kubeconfig: Path) -> list[str]:
    return [context["name"] for context in yaml.safe_load(kubeconfig.read_text())["contexts"]]


def tokens(kubeconfig: Path) -> dict[str, str]:
    return {entry["name"]: entry["user"]["token"] for entry in yaml.safe_load(kubeconfig.read_text())["users"]}


def all_writes(*clusters: Path) -> list[int]:
    return [len(writes(cluster)) for cluster in clusters]
