"""What the platform tells the syncer, and where it finds the two API servers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Where things are in its container. The environment says otherwise where it runs without one, as in tests.
SETTINGS = Path(os.environ.get("TENANTRY_SETTINGS", "/etc/tenantry/syncer"))
SERVICE_ACCOUNT = Path(os.environ.get("TENANTRY_SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
VIRTUAL_URL = os.environ.get("TENANTRY_VIRTUAL_URL", "")  # empty: at its address on the host
KUBELET_PORT = int(os.environ.get("TENANTRY_KUBELET_PORT", "10250"))
METRICS_PORT = int(os.environ.get("TENANTRY_METRICS_PORT", "10251"))
HEALTH_PORT = int(os.environ.get("TENANTRY_HEALTH_PORT", "8080"))


@dataclass(frozen=True)
class Config:
    namespace: str
    labels: Mapping[str, str]
    service_account: str
    priority_class: str
    dns_address: str
    api_address: str
    version: str
    # Where the API server inside reaches the syncer: that of its Service on the host.
    address: str = "127.0.0.1"
    cluster_domain: str = "cluster.local"
    pod_security: str = "baseline"
    # None: any that the host has.
    storage_classes: tuple[str, ...] | None = None
    ingress_classes: tuple[str, ...] = ()
    # Names, *.example.com for all below a domain, * for any.
    ingress_hosts: tuple[str, ...] = ()
    # Whether paths may be what the host's controller takes them for.
    ingress_implementation_specific_paths: bool = False
    # Resources beside processor, memory and disk that pods may request, because the quota limits them.
    extended: tuple[str, ...] = ()
    # The limits and requests of containers that say none.
    container_defaults: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {
            "limits": {"cpu": "100m", "memory": "128Mi"},
            "requests": {"cpu": "50m", "memory": "64Mi"},
        }
    )
    # With Python, for nodes to pull without credentials; empty: pods do without what it writes (hosts_file.py).
    hosts_image: str = ""
    # Whether there are other syncers of the same virtual cluster, of which one works at a time.
    several: bool = False
    host_url: str = field(default="", compare=False)

    @classmethod
    def read(cls, directory: Path = SETTINGS, environment: Mapping[str, str] | None = None) -> Config:
        environment = os.environ if environment is None else environment
        given = json.loads((directory / "config.json").read_text())
        for name in ("storage_classes", "ingress_classes", "ingress_hosts", "extended"):
            if given.get(name) is not None:
                given[name] = tuple(given[name])
        host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
        return cls(**given, host_url=_url(host, port))

    @property
    def virtual_url(self) -> str:
        return VIRTUAL_URL or _url(self.api_address, "443")


def _url(host: str, port: str) -> str:
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


class TokenFile:
    """A token that is replaced in its file from time to time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = (0.0, "")

    def __call__(self) -> str:
        changed = self._path.stat().st_mtime
        if changed != self._read[0]:
            self._read = (changed, self._path.read_text().strip())
        return self._read[1]
