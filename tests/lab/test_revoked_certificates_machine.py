"""Client certificates end on real servers with the removal of the administrator who had them signed (GONE-2)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from .harness import MIRROR, kubectl, lab, ran, run_module, until
from .people import joining, signed_inside
from .test_high_availability import ETCD
from .test_vcluster import version

TENANT = "guild"


MODES = ["shared", *(pytest.param(mode, marks=pytest.mark.nightly) for mode in ("dedicated", "three"))]


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def guild(hub: Path, mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """Options of a virtual cluster of either mode that runs, with an administrator's kubeconfig."""
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 2}).failed
    registries = {"mirrors": {"docker.io": {"endpoint": [MIRROR]}}}
    of_mode = {
        "dedicated": {"agents": 1, "registries": registries},
        "shared": {"resources": {"cpu": "2", "memory": "2Gi", "pods": 10}},
        "three": {**ETCD, "servers": 3, "resources": {"cpu": "8", "memory": "8Gi", "pods": 16}},
    }[mode]
    if mode == "three":
        lab("build", "--etcd")
    options = {
        **tenant, "name": mode, "version": version(hub), "mode": "dedicated" if mode == "dedicated" else "shared",
        "expose": {"type": "NodePort"}, "client_certificates": True,
        "kubeconfig_path": tmp_path_factory.mktemp("guild") / "admin.yaml", **of_mode,
    }  # fmt: skip
    made = run_module("vcluster", **options)
    assert not made.failed, made.msg
    yield options
    assert not run_module("vcluster", **tenant, name=mode, state="absent").failed
    assert not run_module("tenant_quota", **tenant, state="absent").failed


def test_revoke_on_real_servers_ends_certificates(guild: dict, hub: Path, mode: str, tmp_path: Path) -> None:
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    paths = {name: tmp_path / f"{name}.yaml" for name in ("ann", "bob")}
    users = [{"tenant": TENANT, "name": name, "role": "admin", "kubeconfig_path": path} for name, path in paths.items()]
    made = run_module("tenant_user", kubeconfig=hub, users=users)
    assert not made.failed, made.msg
    assert run_module("tenant_user_info", **tenant).data["findings"] == []
    assert "tenantry.dev/trusted" in ran(hub, "get", "secret", "client-ca", "-n", f"{TENANT}--{mode}", "-o", "yaml")
    admin = guild["kubeconfig_path"]
    ran(admin, "create", "clusterrolebinding", "eve", "--clusterrole=cluster-admin", "--user=eve")
    eve = kubeconfig_with(signed_inside(paths["bob"], "eve"), admin, tmp_path / "eve.yaml")
    assert kubectl(eve, "get", "secrets", "-A").returncode == 0

    with signing_on(eve) as later:
        until(lambda: later)
        removed = run_module("tenant_user", **tenant, name="bob", state="absent", revoke_certificates=True, diff=True)
    assert not removed.failed, removed.msg
    for number, user in enumerate(later):
        again = kubeconfig_with(user, admin, tmp_path / f"eve-{number}.yaml")
        assert "Unauthorized" in kubectl(again, "get", "secrets", "-A").stderr
    assert ("update", "StatefulSet", "server") in [(a["action"], a["kind"], a["name"]) for a in removed.data["actions"]]
    for kubeconfig in (paths["ann"], admin):
        assert until(lambda path=kubeconfig: kubectl(path, "get", "nodes").returncode == 0)
    refused = kubectl(eve, "get", "secrets", "-A")
    assert "Unauthorized" in refused.stderr
    remains = [(one["kind"], one["name"]) for one in removed.data["results"][0]["remains"]]
    signed = [one for one in remains if one[0] == "CertificateSigningRequest"]
    assert len(signed) <= 1, "one that was approved when its server stopped is signed later; nobody can fetch it"
    assert [one for one in remains if one not in signed] == [("ClusterRoleBinding", "eve")]
    again = run_module("vcluster", **guild)
    assert (again.failed, again.changed) == (False, False), again.text[-3000:]
    pods = json.loads(ran(hub, "get", "pods", "-n", f"{TENANT}--{mode}", "-o", "json"))["items"]
    restarts = [one["restartCount"] for pod in pods for one in pod["status"]["containerStatuses"]]
    assert restarts == [0] * len(restarts)
    assert not run_module("tenant_user", **tenant, name="bob", state="absent", revoke_certificates=True).changed


def test_without_the_option_no_certificate_is_accepted(guild: dict, hub: Path, mode: str, tmp_path: Path) -> None:
    """Not one of k3s's own group either, which could replace its CAs (k3s:server), nor one for a node."""
    admin, where = guild["kubeconfig_path"], f"{TENANT}--{mode}"
    groups = {"eve": [], "k3s": ["k3s:server"], "system:node:eve": ["system:nodes"]}

    def sign() -> list[Path]:
        users = [signed_inside(admin, name, groups=of) for name, of in groups.items()]
        return [kubeconfig_with(user, admin, tmp_path / f"{number}.yaml") for number, user in enumerate(users)]

    def are_known() -> list[bool]:
        return [kubectl(path, "auth", "whoami").returncode == 0 for path in known]

    def servers() -> list[str]:
        return ran(hub, "get", "pods", "-n", where, "-o", "jsonpath={.items[*].metadata.uid}").split()

    known, before = sign(), servers()
    assert are_known() == [True] * 3, "the positive control"
    changed = run_module("vcluster", **{**guild, "client_certificates": False})
    assert not changed.failed, changed.msg
    assert changed.changed
    assert until(lambda: are_known() == [False] * 3, 180)
    assert servers() == before, "it takes no restart"
    known = sign()
    assert are_known() == [False] * 3
    found = run_module("tenant_user_info", kubeconfig=hub, tenant=TENANT).data["findings"]
    assert "CertificateSigningRequest" not in [one["kind"] for one in found]
    assert run_module("vcluster", **guild).changed
    assert are_known() == [False] * 3, "signed while it was off"
    known = sign()
    assert until(lambda: are_known() == [True] * 3)


def test_a_join_token_that_is_taken_away_is_replaced(guild: dict, hub: Path, mode: str) -> None:
    if mode != "dedicated":
        pytest.skip("only in mode dedicated do agents join")
    admin, where = guild["kubeconfig_path"], ("secret", "join-token", "-n", f"{TENANT}--{mode}")

    def token() -> str:
        return base64.b64decode(ran(hub, "get", *where, "-o", "jsonpath={.data.agent-token}")).decode()

    before = token()
    assert joining(admin, before) == 200
    ran(hub, "patch", *where, "--type=json", "-p", '[{"op": "remove", "path": "/data/agent-token"}]')
    replaced = run_module("vcluster", **guild)
    assert not replaced.failed, replaced.msg
    assert before not in replaced.text
    assert (joining(admin, before), joining(admin, token())) == (401, 200)
    ran(admin, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
    assert not run_module("vcluster", **guild).changed


def kubeconfig_with(user: dict[str, str], admin: Path, path: Path) -> Path:
    config = yaml.safe_load(admin.read_text())
    config["users"][0]["user"] = user
    path.write_text(json.dumps(config))
    return path


@contextmanager
def signing_on(kubeconfig: Path) -> Iterator[list[dict[str, str]]]:
    """One who has certificates signed as long as any server accepts the first; what was signed."""
    signed: list[dict[str, str]] = []
    over = threading.Event()

    def sign() -> None:
        while not over.is_set():
            try:
                signed.append(signed_inside(kubeconfig, "eve"))
            except AssertionError:  # no server, or one that does not accept it any more
                over.wait(0.2)

    thread = threading.Thread(target=sign)
    thread.start()
    try:
        yield signed
    finally:
        over.set()
        thread.join()
