"""A tenant that writes whatever it likes, as fast as it can: the syncer stays up, and within its memory."""

from __future__ import annotations

import json
import random
import string
import time
from collections.abc import Callable

from .harness import sized, until
from .syncer_pair import Pair, PairSpace

SECONDS = sized(30, 600)
MOST = 128  # MiB, the limit of its container
_FUZZ = random.Random(14)


def _text(most: int) -> str:
    size = int(most ** _FUZZ.random())
    return "".join(_FUZZ.choices(string.printable, k=min(size, 100))) * max(1, size // 100)


def _object(kind: str, api: str = "v1", **fields: object) -> dict:
    name = f"{kind.lower()}-{_FUZZ.randrange(8)}"
    metadata = {"name": name, "annotations": {"note": _text(200_000)} if _FUZZ.random() < 0.3 else {}}
    if _FUZZ.random() < 0.1:
        metadata["labels"] = {f"l{at}": "" for at in range(int(20_000 ** _FUZZ.random()))}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def _pod() -> dict:
    env = [{"name": f"A{at}", "value": "$(A0)"} for at in range(int(40_000 ** _FUZZ.random()))]
    references = [
        {"configMapRef": {"name": f"configmap-{at}", "optional": True}} for at in range(int(600 ** _FUZZ.random()))
    ]
    resources = {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}}
    one = {"name": "one", "image": "web:1", "resources": resources, "args": [_text(300_000).replace("\x00", "")]}
    return _object("Pod", spec={"containers": [{**one, "env": env, "envFrom": references}]})


def _service() -> dict:
    ports = [{"name": f"p{at}", "port": at} for at in range(1, 2 + int(1000 ** _FUZZ.random()))]
    return _object("Service", spec={"selector": {"a": "b"}, "ports": ports})


def _config_map() -> dict:
    many = {f"k{at}": "" for at in range(int(30_000 ** _FUZZ.random()))}
    return _object("ConfigMap", data={"text": _text(900_000), **many})


def _secret() -> dict:
    return _object("Secret", stringData={"text": _text(900_000)})


def _claim() -> dict:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return _object("PersistentVolumeClaim", spec=spec)


def _slice() -> dict:
    endpoints = [{"addresses": [f"198.51.100.{at % 250 + 1}"]} for at in range(int(900 ** _FUZZ.random()))]
    return _object("EndpointSlice", "discovery.k8s.io/v1", addressType="IPv4", endpoints=endpoints, ports=[])


def _ingress() -> dict:
    backend = {"service": {"name": "service-1", "port": {"number": 80}}}
    paths = [
        {"path": f"/{at}", "pathType": "Prefix", "backend": backend} for at in range(1 + int(5000 ** _FUZZ.random()))
    ]
    rules = [{"host": "a.dev.example.com", "http": {"paths": paths}}]
    return _object("Ingress", "networking.k8s.io/v1", spec={"ingressClassName": "nginx", "rules": rules})


MAKERS: tuple[Callable[[], dict], ...] = (_pod, _service, _config_map, _secret, _claim, _slice, _ingress)


def test_a_fuzzing_tenant_never_takes_the_syncer_down(pair: Pair) -> None:
    """That the peak can be read shows that the process is the one that was started."""
    end = time.monotonic() + SECONDS
    with pair.space("fuzz") as space:
        while time.monotonic() < end:
            _write(space)
            assert pair.peak <= MOST
        pair.restart_syncer()
        _is_synced(pair, space)
        assert pair.peak <= MOST, "from a start, with all that is there"


def _write(space: PairSpace) -> None:
    """Refused or not: what the API server takes is there."""
    made = _FUZZ.choice(MAKERS)()
    kind, name = made["kind"], made["metadata"]["name"]
    if _FUZZ.random() < 0.25:
        space.try_("delete", kind, name, "--ignore-not-found", "--wait=false")
    else:
        space.try_("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(made))


def _is_synced(pair: Pair, space: PairSpace) -> None:
    container = {"name": "one", "image": "web:1"}
    space.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "last"}, "spec": {"containers": [container]}})
    until(lambda: space.copy_of(pair.host, "pods", "last"), 120)
