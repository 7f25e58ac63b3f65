"""Rows as the API servers give them."""

from __future__ import annotations

from typing import Any


def vcluster(name: str, tenant: str = "payments", **other: Any) -> dict:
    return {
        "tenant": tenant,
        "name": name,
        "namespace": f"{tenant}--{name}",
        "host": "hub",
        "mode": "shared",
        "tier": "dev",
        "status": "Ready",
        "message": None,
        "version": "v1.37.0+k3s1",
        "resources": {"cpu": {"used": "1", "hard": "2"}},
        **other,
    }


def cluster(name: str, **other: Any) -> dict:
    return {
        "name": name,
        "server": f"https://{name}.example.com:6443",
        "version": "v1.37.0",
        "reachable": True,
        "message": None,
        **other,
    }
