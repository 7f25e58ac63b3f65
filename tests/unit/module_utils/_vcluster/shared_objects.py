"""The objects of a virtual cluster of mode shared, and parts of them, for the tests."""

from __future__ import annotations

import base64
import json

from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, server

from .example import SHARED, render

ADDRESSES = {"kubernetes_ip": "10.43.1.1", "dns_ip": "10.43.1.2", "syncer_ip": "10.43.1.4"}

PARTS = ("server", "syncer")


def objects(host: dict | None = None, **changes) -> dict[tuple[str, str], dict]:
    rendering = render({**ADDRESSES, **(host or {})}, **{**SHARED, **changes})
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in cluster.everything(rendering)}


def decoded(secret: dict, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def server_config(**host) -> dict:
    return json.loads(decoded(objects(host)["Secret", "server-config"], "config.yaml"))


def syncer_config(**changes) -> dict:
    return json.loads(decoded(objects(**changes)["Secret", "syncer-config"], "config.json"))


def pod(part: str = "server", **changes) -> dict:
    return objects(**changes)["StatefulSet", part]["spec"]["template"]["spec"]


def syncer(**changes) -> dict:
    (container,) = pod("syncer", **changes)["containers"]
    return container


def stamp(host: dict | None = None, part: str = "server", **changes) -> str:
    template = objects(host, **changes)["StatefulSet", part]["spec"]["template"]
    return template["metadata"]["annotations"][server.CONFIG_HASH]
