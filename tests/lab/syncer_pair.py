"""The syncer as a process between two API servers without nodes: what of a tenant's objects reaches the host.

The host has the platform and a virtual cluster's namespace as the platform renders it, without the server's pod. The
syncer has no more rights there than in a real one: a token of its ServiceAccount. Nothing runs: a test says itself what
kubelets and controllers of the host would.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import HostNetworks
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca, common, server, syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster as cluster_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import cluster as cluster_spec
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import options as options_spec

from .harness import PLATFORM_TOKEN, ROOT, ApiServer, _free_port, kubectl, ran, until
from .space import COPY, WAIT, Space, note

KEYS = common.Keys(*(f"{name}-of-a-test" for name in ("server", "agent", "node", "platform", "syncer")))
# Of the host's own as the syncer is told.
NETWORKS = HostNetworks(
    pods=("10.42.0.0/24", "10.42.1.0/24"),
    services=("10.43.0.0/16",),
    nodes=("192.168.77.11", "192.168.77.12"),
    api=(("192.168.77.10", 6443),),
)
NODE = "node-1"
POD = "syncer-0"
# What is left out is what would run, and Secrets that only that reads.
_RENDERED = {
    *("Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "Service"),
    *("ServiceAccount", "Role", "RoleBinding"),
    "Pod",  # made by _pod(), of none that the platform renders
}
OPTIONS: dict[str, Any] = {
    "mode": "shared",
    "service_cidr": "10.43.0.0/16",
    "resources": {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 50},
    "ingress_classes": ["nginx"],
    "ingress_hosts": ["*.dev.example.com"],
}


_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_GROUPS = {"endpointslices": "/apis/discovery.k8s.io/v1", "ingresses": "/apis/networking.k8s.io/v1"}
_PLURALS = {"EndpointSlice": "endpointslices", "Ingress": "ingresses", "Endpoints": "endpoints"}


class Api:
    """One side, asked within this process: kubectl takes a second of a processor for each question."""

    def __init__(self, kubeconfig: Path, name: str) -> None:
        self._cluster = Cluster.from_kubeconfig(kubeconfig_files.load(str(kubeconfig)), name=name)

    def list(self, plural: str, namespace: str, **query: str) -> list[dict]:
        return self._ask("get", _path(plural, namespace), query_params=list(query.items()))["items"]

    def get(self, plural: str, namespace: str, name: str) -> dict:
        return self._ask("get", _path(plural, namespace, name))

    def create(self, obj: dict, namespace: str) -> None:
        self._ask("post", _path(_plural(obj), namespace), body=obj)

    def apply(self, obj: dict, namespace: str) -> None:
        path = _path(_plural(obj), namespace, obj["metadata"]["name"])
        self._ask("patch", path, body=obj, content_type=_APPLY, field_manager="test", force_conflicts="true")

    def patch(self, plural: str, namespace: str, name: str, change: dict, *subresource: str) -> None:
        self._ask("patch", _path(plural, namespace, name, *subresource), body=change, content_type=_MERGE)

    def delete(self, plural: str, namespace: str, name: str) -> None:
        self._ask("delete", _path(plural, namespace, name))

    def _ask(self, method: str, path: str, **params: Any) -> dict:
        return self._cluster._json(method, path, **params)


def _plural(obj: dict) -> str:
    return _PLURALS.get(obj["kind"], f"{obj['kind'].lower()}s")


def _path(plural: str, namespace: str, *rest: str) -> str:
    return "/".join((_GROUPS.get(plural, "/api/v1"), "namespaces", namespace, plural, *rest))


@dataclasses.dataclass(frozen=True)
class PairSpace(Space):
    """A namespace inside."""

    inside: Path
    api: Api
    host: Api

    @property
    def kubeconfig(self) -> Path:
        return self.inside

    @property
    def shared(self) -> bool:
        return True

    def apply(self, *objects: dict) -> None:
        for one in objects:
            self.api.apply(one, self.name)

    def patch(self, plural: str, name: str, change: dict) -> None:
        self.api.patch(plural, self.name, name, change)

    def get(self, plural: str, name: str) -> dict:
        return self.api.get(plural, self.name, name)

    def found_on_host(self, plural: str, name: str) -> dict | None:
        """The copy of an object of this namespace."""
        copies = self.host.list(plural, self.vcluster, labelSelector=COPY)
        return next((one for one in copies if (note(one, "namespace"), note(one, "name")) == (self.name, name)), None)

    def messages(self) -> list[dict]:
        kinds = {"events": "Event", "pods": "Pod", "services": "Service", "ingresses": "Ingress"}
        kinds["persistentvolumeclaims"] = "PersistentVolumeClaim"
        return [{**one, "kind": kind} for plural, kind in kinds.items() for one in self.api.list(plural, self.name)]

    def told(self, name: str, words: str) -> bool:
        """Whether a warning about an object has these words."""
        selector = f"involvedObject.name={name},type=Warning"
        return any(words in one["message"] for one in self.api.list("events", self.name, fieldSelector=selector))


class Pair:
    """`options` are those of the module vcluster."""

    def __init__(self, host: Path, directory: Path, **options: Any) -> None:
        self.host = host
        self.host_api = Api(host, "host")
        self.directory = directory
        self.rendering = rendering(f"t{uuid.uuid4().hex[:8]}", **options)
        self.namespace = self.rendering.namespace
        self._settings, self._account = directory / "settings", directory / "service-account"
        self._tokens = directory / "identities.csv"
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = {name: _free_port() for name in ("KUBELET", "METRICS", "HEALTH")}
        self._virtual = ApiServer(directory, self._arguments())
        self.virtual = self._virtual.kubeconfig

    def start(self) -> None:
        """Both sides, and the syncer between them."""
        # In place of the API server's own file, which has the platform alone.
        platform = f'{PLATFORM_TOKEN},tenantry:platform,tenantry:platform,"system:masters"\n'
        self._tokens.write_text(platform + syncer.identity(self.rendering))
        self._virtual.start(deadline_seconds=180)
        self.apply(cluster_manifests.foundation(self.rendering))
        self.rendering = dataclasses.replace(
            self.rendering,
            kubernetes_ip=self._cluster_ip(syncer.KUBERNETES_SERVICE),
            dns_ip=self._cluster_ip(syncer.DNS_SERVICE),
            syncer_ip="127.0.0.1",  # it runs beside the API server inside
        )
        self.apply(cluster_manifests.everything(self.rendering))
        self._hand_over()
        self.start_syncer()

    def stop(self) -> None:
        self.stop_syncer()
        self._virtual.kill()
        here = ("-n", self.namespace)
        kubectl(self.host, *here, "delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
        kubectl(self.host, "delete", "node", NODE, "--ignore-not-found")
        kubectl(self.host, "delete", "namespace", self.namespace, WAIT)

    def start_syncer(self, **changes: Any) -> None:
        """With changes of its config.json; ready when it has listed everything and works."""
        given = {**syncer.config(self.rendering), **changes}
        (self._settings / "config.json").write_text(json.dumps(given))
        self.set_networks(syncer.networks(self.rendering))
        self.set_storage_classes(*self.rendering.storage_classes)
        with (self.directory / "syncer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tenantry_syncer"],
                cwd=ROOT / "syncer", env=self._environment(), stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        until(self._is_ready)

    def set_networks(self, given: dict) -> None:
        self._set("networks.json", given)

    def set_storage_classes(self, *classes: dict) -> None:
        """What the platform tells when the host has these."""
        self.rendering = dataclasses.replace(self.rendering, storage_classes=classes)
        self._set(syncer.CLASSES, syncer.storage_classes(self.rendering))

    def _set(self, file: str, content: Any) -> None:
        """What the kubelet does when the platform has changed the Secret."""
        fresh = self._settings / f"{file}.new"
        fresh.write_text(json.dumps(content))
        fresh.rename(self._settings / file)

    def stop_syncer(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def restart_syncer(self, **changes: Any) -> None:
        self.stop_syncer()
        self.start_syncer(**changes)

    @property
    def peak(self) -> int:
        """The most memory that the running syncer has had resident, in MiB."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1024

    @property
    def log(self) -> str:
        """What the syncer has printed."""
        return (self.directory / "syncer.log").read_text()

    @contextlib.contextmanager
    def space(self, purpose: str = "test") -> Iterator[PairSpace]:
        """A namespace inside, gone afterwards."""
        name = f"{purpose}-{uuid.uuid4().hex[:6]}"
        space = PairSpace(self.namespace, name, self.virtual, Api(self.virtual, "virtual"), self.host_api)
        space("create", "namespace", space.name)
        try:
            space("wait", "--for=create", "serviceaccount/default", WAIT)
            yield space
            space.check_messages()
        finally:
            space("delete", "namespace", space.name, "--wait=false")
            until(lambda: self._is_gone(space))

    def _is_gone(self, space: Space) -> bool:
        """There is no kubelet to end the pods that run."""
        for pod in self.host_api.list("pods", self.namespace, labelSelector=COPY):
            if note(pod, "namespace") == space.name:
                name = pod["metadata"]["name"]
                kubectl(self.host, "-n", self.namespace, "delete", "pod", name, "--force", "--grace-period=0")
        return "NotFound" in space.try_("get", "namespace", space.name).stderr

    def on_host(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl as the host's administrator, in the virtual cluster's namespace."""
        return ran(self.host, "-n", self.namespace, *arguments, stdin=stdin)

    def apply(self, objects: Sequence[dict]) -> None:
        rendered = [one for one in objects if one["kind"] in _RENDERED]
        listed = {"apiVersion": "v1", "kind": "List", "items": rendered}
        ran(self.host, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(listed))

    def run_pod(self, space: PairSpace, name: str, address: str, host_ip: str = "192.168.77.11") -> None:
        """What scheduler and kubelet of the host would do: the pod runs on a node and has this address."""
        known = kubectl(self.host, "get", "node", NODE)
        if known.returncode:
            # As large as no test needs: the API server refuses a resize beyond it.
            size = {"cpu": "100", "memory": "500Gi", "pods": "1000"}
            status = {"status": {"allocatable": size, "capacity": size}}
            self.on_host("create", "-f", "-", stdin=json.dumps({**_object("v1", "Node", NODE), **status}))
        copy = until(lambda: space.found_on_host("pods", name))["metadata"]["name"]
        binding = {**_object("v1", "Binding", copy), "target": {"kind": "Node", "name": NODE}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{copy}/binding"
        self.on_host("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))
        ready = [
            {"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready}
        self.set_status("pods", copy, {**status, "hostIP": host_ip, "hostIPs": [{"ip": host_ip}]})

    def end_pod(self, space: PairSpace, name: str) -> None:
        """What the kubelet of the host would do once the copy of a pod is being deleted."""

        def deleted() -> dict | None:
            copy = space.found_on_host("pods", name)
            return copy if copy and copy["metadata"].get("deletionTimestamp") else None

        copy = until(deleted)["metadata"]["name"]
        self.on_host("delete", "pod", copy, "--force", "--grace-period=0")

    def set_status(self, plural: str, copy: str, status: dict) -> None:
        """What a controller of the host would say."""
        self.host_api.patch(plural, self.namespace, copy, {"status": status}, "status")

    def _arguments(self) -> list[str]:
        """As the platform starts k3s, as far as a process without nodes can have it."""
        controllers = server.config(self.rendering)["kube-controller-manager-arg"]
        for file, content in client_ca.make(self.namespace).items():
            (self.directory / file).write_text(content)
        controllers = [one.replace(client_ca.DIRECTORY, str(self.directory)) for one in controllers]
        return [
            "--disable-scheduler",
            *(word for one in controllers for word in ("--kube-controller-manager-arg", one)),
            *("--kube-apiserver-arg", f"token-auth-file={self._tokens}"),
        ]

    def _cluster_ip(self, service: str) -> str:
        return self.on_host("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")

    def _hand_over(self) -> None:
        """What the kubelet would mount into the syncer's container."""
        for directory in (self._settings, self._account):
            directory.mkdir(mode=0o700)
        cluster = yaml.safe_load(self.host.read_text())["clusters"][0]["cluster"]
        (self._account / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        (self._account / "namespace").write_text(self.namespace)
        self.apply([self._pod()])
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={POD}")
        token = self.on_host("create", "token", syncer.NAME, "--duration=1h", *bound)
        for file, content in ((self._account / "token", token), (self._settings / "token", KEYS.syncer_token)):
            file.touch(mode=0o600)
            file.write_text(content)

    def _pod(self) -> dict:
        """The host knows the syncer by the pod to which its token is bound. Nothing runs in it."""
        template = syncer.stateful_set(self.rendering)["spec"]["template"]
        metadata = {**template["metadata"], "name": POD, "namespace": self.namespace}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {**template["spec"], "schedulerName": "none"},
        }

    def _environment(self) -> dict[str, str]:
        host = yaml.safe_load(self.host.read_text())["clusters"][0]["cluster"]["server"]
        address, _colon, port = host.removeprefix("https://").rpartition(":")
        return {
            **os.environ,
            "KUBERNETES_SERVICE_HOST": address,
            "KUBERNETES_SERVICE_PORT": port,
            "TENANTRY_SETTINGS": str(self._settings),
            "TENANTRY_SERVICE_ACCOUNT": str(self._account),
            "TENANTRY_VIRTUAL_URL": f"https://127.0.0.1:{self._virtual.port}",
            **{f"TENANTRY_{name}_PORT": str(port) for name, port in self._ports.items()},
        }

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-3000:]
        url = f"http://127.0.0.1:{self._ports['HEALTH']}/readyz"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return True
        return False


def rendering(tenant: str, **options: Any) -> common.RenderContext:
    """A virtual cluster `dev` of mode shared, as the module vcluster would render it with these options."""
    given = {"tenant": tenant, "name": "dev", "version": "v1.37.2+k3s1", **OPTIONS, **options}
    checked = ArgumentSpecValidator(options_spec.OPTIONS).validate(given)
    assert not checked.error_messages, checked.error_messages
    spec = cluster_spec.parse({"host": "hub", **checked.validated_parameters, "mode": "shared"})
    return common.RenderContext(spec, KEYS, address="192.0.2.10", host=NETWORKS)


def _object(api: str, kind: str, name: str) -> dict:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}}


@contextlib.contextmanager
def syncer_pair(host: Path, directory: Path, **options: Any) -> Iterator[Pair]:
    """On a host that has the platform."""
    pair = Pair(host, directory, **options)
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()
