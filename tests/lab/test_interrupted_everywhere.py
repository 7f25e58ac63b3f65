"""IDEM-1 and IDEM-5: a run that is interrupted at any of its writes, or has another beside it, leaves nothing torn."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .harness import NIGHTLY, ModuleResult, call_module, kubectl, ran, run_module, sized
from .interrupting import interrupted
from .people import lose_promises

TENANT = "loomers"
SHAPE = {"version": "v1.37.2+k3s1", "wait": False}
SHAPES: dict[str, dict[str, Any]] = {
    "dedicated": {**SHAPE, "mode": "dedicated", "agents": 1},
    "shared": {**SHAPE, "mode": "shared", "resources": {"cpu": 2, "memory": "2Gi", "pods": 10}},
}
KINDS = (
    "secrets,serviceaccounts,services,resourcequotas,limitranges,pvc,pdb,networkpolicies,roles,rolebindings,"
    "statefulsets"
)
# What differs from one to the other because it must: keys, addresses, and the fingerprint made of them.
_OWN = ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation", "selfLink")


@pytest.fixture(scope="module")
def hub(platform: Path) -> Iterator[Path]:
    """A hub without nodes: there is nothing to wait for."""
    tenant = {"kubeconfig": platform, "tenant": TENANT}
    quota = {"cpu": "1000", "memory": "1000Gi", "storage": "1000Gi", "pods": 1000, "vclusters": 200}
    made = call_module("tenant_quota", **tenant, quota=quota)
    assert not made.failed, made.msg
    yield platform
    listed = ran(platform, "get", "namespaces", "-l", f"tenantry.dev/tenant={TENANT}", "-o", "name").split()
    names = [name.split("--")[1] for name in listed if "--" in name]
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in names]
    removed = call_module("vcluster", kubeconfig=platform, vclusters=gone)
    assert not removed.failed, removed.msg
    record = ran(platform, "get", "configmap", "tenant", "-n", f"tenant-{TENANT}", "-o", "json")
    assert "two-d0" not in record, "what runs that have ended promised"
    assert "counts until" in call_module("tenant_quota", **tenant, state="absent").msg, "those that were killed"
    lose_promises(platform, TENANT)
    removed = call_module("tenant_quota", **tenant, state="absent")
    assert not removed.failed, removed.msg


def vcluster(hub: Path, name: str, mode: str, **more: Any) -> ModuleResult:
    return call_module("vcluster", kubeconfig=hub, tenant=TENANT, name=name, **{**SHAPES[mode], **more})


def whole(hub: Path, name: str) -> dict[str, str]:
    """All that the virtual cluster consists of, without what must differ from that of another name."""
    namespace = f"{TENANT}--{name}"
    listed = json.loads(ran(hub, "-n", namespace, "get", KINDS, "-o", "json"))["items"]
    listed += [json.loads(ran(hub, "get", "namespace", namespace, "-o", "json"))]
    ours = [item for item in listed if "tenantry.dev/vcluster" in (item["metadata"].get("labels") or {})]
    return {f"{one['kind']} {one['metadata']['name']}".replace(namespace, "NS"): _plain(one, namespace) for one in ours}


def _plain(one: dict, namespace: str) -> str:
    meta = {key: value for key, value in one["metadata"].items() if key not in _OWN}
    rest = {key: value for key, value in one.items() if key not in ("metadata", "status", "data")}
    keys = sorted(one.get("data") or {})
    spec = dict(rest.get("spec") or {})
    for own in ("clusterIP", "clusterIPs", "ports"):  # of a Service
        spec.pop(own, None)
    template = spec.get("template", {})
    for made_of_keys in ("config", "client-ca"):
        template.get("metadata", {}).get("annotations", {}).pop(f"tenantry.dev/{made_of_keys}", None)
    for alias in template.get("spec", {}).get("hostAliases", []):
        alias.pop("ip")
    name = namespace.partition("--")[2]
    text = json.dumps([meta, {**rest, "spec": spec}, keys], sort_keys=True).replace(namespace, "NS")
    return text.replace(f'"{name}"', '"NAME"')


def keys(hub: Path, name: str) -> dict[str, str]:
    """The keys that are stored, by Secret and name; none of a Secret that is not there."""
    found = {}
    for secret in ("join-token", "platform-credential"):
        got = kubectl(hub, "-n", f"{TENANT}--{name}", "get", "secret", secret, "-o", "json")
        data = json.loads(got.stdout).get("data") or {} if got.returncode == 0 else {}
        found |= {f"{secret}/{key}": base64.b64decode(value).decode() for key, value in data.items()}
    return found


@pytest.fixture(scope="module", params=["dedicated", "shared"])
def clean(request: pytest.FixtureRequest, hub: Path) -> tuple[str, dict[str, str], int]:
    """A mode, what a run leaves behind that nobody interrupts, and how many writes it takes."""
    name = f"clean-{request.param}"
    arguments = {"kubeconfig": hub, "tenant": TENANT, "name": name, **SHAPES[request.param]}
    run = interrupted("vcluster", 0, 0, "", **arguments)
    assert run.status == 0, run.text
    return request.param, whole(hub, name), run.writes


def boundaries(writes: int) -> list[int]:
    """All of them in `make nightly`, otherwise two."""
    return list(range(1, writes + 1)) if NIGHTLY else sorted({1 + writes // 3, 1 + 2 * writes // 3})


@pytest.mark.parametrize(
    ("number_of", "when"), [(signal.SIGKILL, "before"), (signal.SIGKILL, "after"), (signal.SIGINT, "after")]
)
def test_at_every_write(hub: Path, clean: tuple[str, dict[str, str], int], number_of: int, when: str) -> None:
    mode, wanted, writes = clean
    assert writes > 10

    def one(number: int) -> None:
        name = f"w{number}-{mode[0]}{when[0]}{int(number_of)}"
        arguments = {"kubeconfig": hub, "tenant": TENANT, "name": name, **SHAPES[mode]}
        run = interrupted("vcluster", number, number_of, when, **arguments)
        assert run.status != 0, f"write {number} of {writes} was not interrupted"
        before = keys(hub, name)
        again = vcluster(hub, name, mode)
        assert not again.failed, again.msg
        after = keys(hub, name)
        assert {key: after[key] for key in before} == before, f"new keys after write {number}"
        assert whole(hub, name) == wanted, f"not the same after write {number}"
        assert not vcluster(hub, name, mode).changed

    for number in boundaries(writes):
        one(number)


@pytest.mark.parametrize("module", ["tenant_quota", "tenant_user"])
def test_of_other_modules_at_every_write(payments: Path, tmp_path: Path, module: str) -> None:
    """Users inside the hub and a tenant namespace; what is in virtual clusters takes a tunnel, see test_site.py."""
    tenant = {"kubeconfig": payments, "tenant": "brief"}
    arguments = {**tenant, "quota": {"cpu": "3"}} if module == "tenant_quota" else {**tenant, "name": "eve"}
    if module == "tenant_user":
        arguments["role"] = "admin"
        assert not call_module("tenant_quota", **tenant).failed
    first = interrupted(module, 0, 0, "", **arguments)
    assert first.status == 0, first.text
    for number in boundaries(first.writes):
        for when in ("before", "after"):
            gone = {key: value for key, value in arguments.items() if key not in ("quota", "role")}
            assert not call_module(module, **gone, state="absent").failed
            assert interrupted(module, number, signal.SIGKILL, when, **arguments).status == -signal.SIGKILL
            again = call_module(module, **arguments)
            assert not again.failed, again.msg
            assert not call_module(module, **arguments).changed
    if module == "tenant_user":
        assert not call_module("tenant_user", **tenant, name="eve", state="absent").failed
    assert not call_module("tenant_quota", **tenant, state="absent").failed


def at_once(*runs: dict[str, Any]) -> list[ModuleResult]:
    """Modules in processes of their own, at the same time."""
    with ThreadPoolExecutor(len(runs)) as threads:
        return list(threads.map(lambda run: run_module(run.pop("module"), **run), runs))


@pytest.mark.parametrize("turn", range(sized(2, 10)))
@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_two_make_the_same_virtual_cluster(hub: Path, mode: str, turn: int) -> None:
    name = f"two-{mode[0]}{turn}"
    run = {"module": "vcluster", "kubeconfig": hub, "tenant": TENANT, "name": name, **SHAPES[mode]}
    for done in at_once({**run}, {**run}):
        assert not done.failed, done.msg
    before, made = keys(hub, name), revisions(hub, name)
    assert not vcluster(hub, name, mode).changed, "what one wrote is not what the other built on"
    assert keys(hub, name) == before
    assert made == 1, "the server would have been started with two configurations"


def revisions(hub: Path, name: str) -> int:
    """How many makes of the server's pod there have been."""
    server = json.loads(ran(hub, "-n", f"{TENANT}--{name}", "get", "statefulset", "server", "-o", "json"))
    return int(server["metadata"]["generation"])


def test_two_make_the_same_tenant_and_user(payments: Path, dev: Path, tmp_path: Path) -> None:
    tenant = {"module": "tenant_quota", "kubeconfig": payments, "tenant": "twins"}
    for done in at_once({**tenant}, {**tenant}):
        assert not done.failed, done.msg
    user = {"module": "tenant_user", "kubeconfig": payments, "tenant": "twins", "name": "bob", "role": "admin"}
    for done in at_once({**user}, {**user}):
        assert not done.failed, done.msg
    for with_resolved_networks in (tenant, user):
        module = with_resolved_networks.pop("module")
        assert not call_module(module, **with_resolved_networks).changed
    assert not call_module("tenant_user", kubeconfig=payments, tenant="twins", name="bob", state="absent").failed
    assert not call_module("tenant_quota", kubeconfig=payments, tenant="twins", state="absent").failed
