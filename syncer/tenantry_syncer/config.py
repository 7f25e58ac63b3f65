"""The syncer's configuration, and the addresses of the two API servers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Paths and ports in the container. The environment overrides them where the syncer runs without one, as in tests.
SETTINGS = Path(os.environ.get("TENANTRY_SETTINGS", "/etc/tenantry/syncer"))
SERVICE_ACCOUNT = Path(os.environ.get("TENANTRY_SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
VIRTUAL_URL = os.environ.get("TENANTRY_VIRTUAL_URL", "")  # empty: Config.api_address
KUBELET_PORT = int(os.environ.get("TENANTRY_KUBELET_PORT", "10250"))
METRICS_PORT = int(os.environ.get("TENANTRY_METRICS_PORT", "10251"))
HEALTH_PORT = int(os.environ.get("TENANTRY_HEALTH_PORT", "8080"))


@dataclass(frozen=True)
class Config:
    """The platform's config.json, with the addresses of the API servers."""

    namespace: str
    labels: Mapping[str, str]
    service_account: str
    priority_class: str
    dns_address: str
    api_address: str
    version: str
    # Cluster IP of the syncer's Service on the host, where the virtual API server reaches it.
    address: str = "127.0.0.1"
    cluster_domain: str = "cluster.local"
    pod_security: str = "baseline"
    # None: every class of the host.
    storage_classes: tuple[str, ...] | None = None
    ingress_classes: tuple[str, ...] = ()
    # Host names, *.example.com for all below a domain, * for any.
    ingress_hosts: tuple[str, ...] = ()
    # Whether ingresses may use pathType ImplementationSpecific.
    ingress_implementation_specific_paths: bool = False
    # Resources besides CPU, memory and ephemeral storage that pods may request, because the quota limits them.
    extended: tuple[str, ...] = ()
    # Limits and requests of containers that set none.
    container_defaults: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {
            "limits": {"cpu": "100m", "memory": "128Mi"},
            "requests": {"cpu": "50m", "memory": "64Mi"},
        }
    )
    # An image with Python that nodes can pull without credentials. Empty: /etc/hosts is not rewritten (hosts_file.py).
    hosts_image: str = ""
    # Whether the virtual cluster has several syncers, which then elect a leader.
    several: bool = False
    host_url: str = field(default="", compare=False)

    @classmethod
    def read(cls, directory: Path = SETTINGS, environment: Mapping[str, str] | None = None) -> Config:
        """Read config.json from `directory`, and the host's address from the environment."""
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
    """A bearer token in a file that the kubelet rotates; call it for the current token."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = (0.0, "")

    def __call__(self) -> str:
        changed = self._path.stat().st_mtime
        if changed != self._read[0]:
            self._read = (changed, self._path.read_text().strip())
        return self._read[1]
