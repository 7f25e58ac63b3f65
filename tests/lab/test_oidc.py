"""People who come by an issuer: real tokens of a real OpenID Connect provider on real API servers."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from ..unit.module_utils._vcluster.example import make_item, render
from .harness import ApiServer, ModuleResult, call_module, everything, kubectl, lab, ran, run_module, until
from .issuer import CLIENT, Issuer, running
from .people import all_writes, can, is_known, is_refused, tenant_with
from .tenantry_lab.config import Lab

DEV = "payments--dev"
USERS = {"claim": "department", "value": "payments"}


@dataclass(frozen=True)
class World:
    """A hub and the inside of a virtual cluster, which trust an issuer of people; and two more that are of no use."""

    hub: Path
    dev: Path
    issuer: Issuer
    late: Issuer  # signs what has expired already
    bare: Issuer  # trusted without any prefix

    def user(self, name: str, role: str, oidc: dict[str, Any] | None, **more: Any) -> ModuleResult:
        given = {"oidc": oidc} if oidc else {}
        return call_module("tenant_user", kubeconfig=self.hub, tenant="payments", name=name, role=role, **given, **more)


def _oidc(issuer: Issuer, **more: Any) -> dict[str, Any]:
    claims = {"groups_claim": "groups", "required_claims": {USERS["claim"]: USERS["value"]}}
    return make_item(oidc={**_defaults(), **issuer.options(**{**claims, **more})})["oidc"]


def _defaults() -> dict[str, Any]:
    """As the argument spec has them."""
    prefixes = {"username_prefix": "oidc:", "groups_prefix": "oidc:"}
    return {"username_claim": "sub", "groups_claim": None, "required_claims": None, "ca_file": None, **prefixes}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    lab("build")
    with contextlib.ExitStack() as stack:
        directory = tmp_path_factory.mktemp("issuers")
        issuer = stack.enter_context(running(directory / "issuer"))
        late = stack.enter_context(running(directory / "late", lifetime=-60))
        bare = stack.enter_context(running(directory / "bare"))
        given = [_oidc(issuer), _oidc(late), _oidc(bare, username_prefix="", groups_prefix="")]
        rendered = [server_manifests.authentication(render(oidc=one)) for one in given]
        # What a server mounts, with two further issuers of the same make.
        configuration = {**rendered[0], "jwt": [one["jwt"][0] for one in rendered]}
        file = directory / "authentication.json"
        file.write_text(json.dumps(configuration))
        file_flag = ("--kube-apiserver-arg", f"authentication-config={file}")
        # The hub as an administrator of k3s gives it an issuer: by flags.
        flags = {
            "oidc-issuer-url": issuer.url, "oidc-client-id": CLIENT, "oidc-ca-file": issuer.ca,
            "oidc-username-prefix": "oidc:", "oidc-groups-claim": "groups", "oidc-groups-prefix": "oidc:",
        }  # fmt: skip
        hub_flags = [word for flag, value in flags.items() for word in ("--kube-apiserver-arg", f"{flag}={value}")]
        servers = [
            ApiServer(tmp_path_factory.mktemp("hub"), hub_flags),
            ApiServer(tmp_path_factory.mktemp("dev"), file_flag),
        ]
        for server in servers:
            stack.callback(server.kill)
            server.start()
        hub, dev = (server.kubeconfig for server in servers)
        assert not call_module("platform", kubeconfig=hub).failed
        record = parse(make_item(oidc=given[0])).oidc.record()
        with tenant_with(hub, "payments", {"dev": dev}, oidc=record):
            yield World(hub, dev, issuer, late, bare)
        removed = call_module("platform", kubeconfig=hub, state="absent")
        assert not removed.failed, removed.msg


Login = Callable[..., tuple[Path, ModuleResult]]


@pytest.fixture
def login(world: World, tmp_path: Path) -> Iterator[Login]:
    """Gives a user of the issuer a role, and the kubeconfig that the module wrote."""
    made: list[str] = []

    def run(name: str, role: str, claims: dict[str, Any] | None = None, **oidc: Any) -> tuple[Path, ModuleResult]:
        made.append(name)
        path = tmp_path / f"{name}.yaml"
        claims = {USERS["claim"]: USERS["value"], **(claims or {})}
        oidc = oidc or {"username": name}
        plugin = world.issuer.credential(tmp_path, name, **claims)
        result = world.user(name, role, {**oidc, **plugin}, kubeconfig_path=str(path))
        assert not result.failed, result.msg
        # What an API server knows of an issuer, it finds out behind its start.
        until(lambda: is_known(path, DEV), 30)
        return path, result

    yield run
    for name in made:
        removed = world.user(name, "viewer", None, state="absent")
        assert not removed.failed, removed.msg


def _with_token(world: World, tmp_path: Path, token: str, kubeconfig: Path | None = None) -> Path:
    """A kubeconfig with just this token."""
    config = yaml.safe_load((kubeconfig or world.dev).read_text())
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["name"] = DEV
    path = tmp_path / "token.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _whoami(kubeconfig: Path) -> dict[str, Any]:
    answer = ran(kubeconfig, "--context", DEV, "auth", "whoami", "-o", "json")
    return dict(json.loads(answer)["status"]["userInfo"])


QUESTIONS = {
    ("get", "pods", "-n", "shop"): ("viewer", "developer", "admin", "platform_operator"),
    ("get", "pods", "--subresource=log", "-n", "shop"): ("viewer", "developer", "admin"),
    ("get", "secrets", "-n", "shop"): ("developer", "admin"),
    ("create", "deployments", "-n", "shop"): ("developer", "admin"),
    ("create", "pods", "--subresource=exec", "-n", "shop"): ("developer", "admin"),
    ("create", "clusterrolebindings"): ("admin",),
    ("impersonate", "users"): ("admin",),
    ("create", "serviceaccounts", "--subresource=token", "-n", "tenantry-system"): ("admin",),
}


@pytest.mark.parametrize("role", ["viewer", "developer", "admin", "platform_operator"])
def test_roles_are_the_same_as_with_tokens_of_the_platform(world: World, login: Login, role: str) -> None:
    path, made = login("alice", role)
    (row,) = made.data["results"][0]["kubeconfigs"]
    assert (row["credential"], row["contexts"], row["expires"]) == ("oidc", [DEV], None)
    (user,) = yaml.safe_load(path.read_text())["users"]
    assert set(user["user"]) == {"exec"}
    assert _whoami(path)["username"] == "oidc:alice"
    assert {q for q in QUESTIONS if can(path, DEV, *q)} == {q for q, roles in QUESTIONS.items() if role in roles}


def test_a_group_of_the_issuer(world: World, login: Login, tmp_path: Path) -> None:
    path, _made = login("staff", "developer", {"groups": ["engineers", "people"]}, group="engineers")
    assert _whoami(path)["groups"] == ["oidc:engineers", "oidc:people", "system:authenticated"]
    assert can(path, DEV, "create", "deployments")
    claims = {USERS["claim"]: USERS["value"], "groups": ["people"]}
    other = _with_token(world, tmp_path, world.issuer.token("eve", **claims))
    assert is_known(other, DEV)
    assert not can(other, DEV, "get", "pods")


def test_tokens_that_are_refused(world: World, login: Login, tmp_path: Path) -> None:
    login("alice", "viewer")
    claims = {USERS["claim"]: USERS["value"]}
    good = world.issuer.token("alice", **claims)
    head, body, signature = good.split(".")
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b"alice", b"admin")).decode()
    assert is_known(_with_token(world, tmp_path, good), DEV)
    bad = {
        "audience": world.issuer.token("alice", client="another", **claims),
        "claim": world.issuer.token("alice"),
        "claim's value": world.issuer.token("alice", **{USERS["claim"]: "sales"}),
        "expiry": world.late.token("alice", **claims),
        "signature": ".".join((head, forged.rstrip("="), signature)),
    }
    with running(tmp_path / "stranger") as stranger:
        bad["issuer"] = stranger.token("alice", **claims)
    for what, token in bad.items():
        assert is_refused(_with_token(world, tmp_path, token), DEV), what


def test_nobody_gets_a_name_of_kubernetes_from_an_issuer(world: World, login: Login, tmp_path: Path) -> None:
    claims = {USERS["claim"]: USERS["value"]}
    path, _made = login("alice", "viewer")
    token = world.issuer.token("system:admin", **claims, groups=["system:masters"])
    prefixed = _with_token(world, tmp_path, token)
    assert _whoami(prefixed)["username"] == "oidc:system:admin"
    assert not can(prefixed, DEV, "get", "secrets")
    # Without a prefix, a rule stands before it; who has another name is let in.
    until(lambda: is_known(_with_token(world, tmp_path, world.bare.token("zoe", **claims)), DEV), 30)
    for subject, groups in (("system:admin", []), ("tenantry:platform", []), ("eve", ["system:masters"])):
        token = world.bare.token(subject, **claims, groups=groups)
        assert is_refused(_with_token(world, tmp_path, token), DEV), subject
    assert is_known(path, DEV)


def test_system_namespaces_are_closed_to_developers(world: World, login: Login) -> None:
    developer, _made = login("dora", "developer")
    admin, _made = login("alice", "admin")
    note = ("create", "configmap", "note", "--dry-run=server", "-n")
    until(lambda: kubectl(developer, "--context", DEV, *note, "kube-system").returncode, 10)
    refused = kubectl(developer, "--context", DEV, *note, "kube-system")
    assert "may be changed by its administrators only" in refused.stderr
    assert kubectl(developer, "--context", DEV, *note, "default").returncode == 0
    assert kubectl(admin, "--context", DEV, *note, "kube-system").returncode == 0


def test_on_the_hub(world: World, login: Login, tmp_path: Path) -> None:
    login("alice", "viewer")
    token = world.issuer.token("alice")
    on_hub = _with_token(world, tmp_path, token, world.hub)
    until(lambda: is_known(on_hub, DEV), 30)
    assert can(on_hub, DEV, "get", "configmaps", "-n", "tenant-payments")
    assert not can(on_hub, DEV, "get", "secrets", "-n", "tenant-payments")
    assert not can(on_hub, DEV, "get", "configmaps", "-n", "tenantry-system")
    (known,) = call_module("tenant_user_info", kubeconfig=world.hub, tenant="payments").data["users"]
    assert (known["name"], known["oidc"], known["credentials"]) == ("alice", "user oidc:alice", [])


def test_demoted_and_removed(world: World, login: Login, tmp_path: Path) -> None:
    clusters = [world.hub, world.dev]
    login("keeper", "viewer")  # what is there for all users stays with the last of them
    before = [everything(cluster) for cluster in clusters]
    path, made = login("alice", "developer")
    assert can(path, DEV, "create", "deployments")
    again = world.user("alice", "developer", {"username": "alice", **_plugin(path)}, kubeconfig_path=str(path))
    assert (again.changed, again.data["actions"]) == (False, [])
    assert made.changed
    content = path.read_bytes()
    login("alice", "viewer")
    assert path.read_bytes() == content
    assert not can(path, DEV, "create", "deployments")
    assert can(path, DEV, "get", "pods")
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(content)
    # Somebody else's binding must not wait for who comes back under that name.
    ran(world.dev, "create", "clusterrolebinding", "gift", "--clusterrole=view", "--user=oidc:alice", "--user=oidc:eve")
    predicted = world.user("alice", "viewer", None, state="absent", kubeconfig_path=str(path), check=True)
    gone = world.user("alice", "viewer", None, state="absent", kubeconfig_path=str(path))
    assert gone.data["actions"] == predicted.data["actions"]
    assert not path.exists()
    assert is_known(copy, DEV)  # the issuer still knows who that is; here he may do nothing
    assert not can(copy, DEV, "get", "pods")
    assert ran(world.dev, "get", "clusterrolebinding", "gift", "-o", "jsonpath={.subjects[*].name}") == "oidc:eve"
    ran(world.dev, "delete", "clusterrolebinding", "gift")
    assert [everything(cluster) for cluster in clusters] == before


def _plugin(kubeconfig: Path) -> dict[str, Any]:
    plugin = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["exec"]
    return {key: plugin[key] for key in ("command", "args")}


@pytest.mark.parametrize("oidc", [{}, {"username": "erin", "hub_prefix": "corp:"}, {"group": "staff"}])
def test_the_rights_of_a_person_are_for_that_person_alone(world: World, login: Login, oidc: dict[str, Any]) -> None:
    """Somebody who leaves, but is known to the issuer still, gives rights to the own name as if they were erin's."""
    login("erin", "admin", {"groups": ["staff"]}, **oidc)

    def found() -> set[tuple[str, str]]:
        info = call_module("tenant_user_info", kubeconfig=world.hub, tenant="payments")
        assert not info.failed, info.msg
        return {(one["kind"], one["name"]) for one in info.data["findings"]}

    labels = ("app.kubernetes.io/managed-by=tenantry.kube", "tenantry.dev/component=user", "tenantry.dev/user=erin")
    other = ("clusterrolebinding", "tenantry:erin:developer")
    assert found() == set()
    ran(world.dev, "create", *other, "--clusterrole=tenantry:developer", "--user=oidc:mallory")
    try:
        ran(world.dev, "label", *other, *labels)
        assert found() == {("ClusterRoleBinding", other[1])}
    finally:
        ran(world.dev, "delete", *other)


def test_from_a_token_to_the_issuer(world: World, login: Login, tmp_path: Path) -> None:
    path = tmp_path / "alice.yaml"
    assert world.user("alice", "viewer", None, kubeconfig_path=str(path)).changed
    old = tmp_path / "old.yaml"
    old.write_bytes(path.read_bytes())
    assert is_known(old, DEV)
    new, made = login("alice", "viewer")
    assert new == path
    assert ("delete", "ServiceAccount") in {(one["action"], one["kind"]) for one in made.data["actions"]}
    assert is_refused(old, DEV)
    assert "token:" not in path.read_text()
    assert ran(world.dev, "get", "secrets", "-n", "tenantry-system", "-o", "name") == ""


def test_a_group_of_requests_of_their_own(world: World, login: Login) -> None:
    """By which a virtual cluster nobody uses is known."""
    path, _made = login("alice", "viewer")
    ran(path, "--context", DEV, "get", "pods")
    metrics = ran(world.dev, "get", "--raw", "/metrics")
    counted = [line for line in metrics.splitlines() if 'flow_schema="tenantry-people-alice"' in line]
    assert any(line.startswith("apiserver_flowcontrol_dispatched_requests_total") for line in counted)


@pytest.mark.parametrize(
    ("oidc", "line"),
    [
        ({}, "oidc: must have either username or group for user bob"),
        ({"username": "bob", "group": "people"}, "oidc: must have either username or group"),
        ({"username": "a\nb"}, "oidc.username"),
        ({"username": "system:admin", "hub_prefix": ""}, "is a name of Kubernetes or of the platform"),
        ({"username": "admin", "hub_prefix": "system:"}, "oidc.hub_prefix"),
        ({"username": "bob", "command": ""}, "oidc.command"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(world: World, oidc: dict[str, Any], line: str) -> None:
    written = all_writes(world.hub, world.dev)
    refused = call_module(
        "tenant_user", kubeconfig=world.hub, tenant="payments", name="bob", role="viewer", oidc=oidc or {"username": ""}
    )
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg
    assert all_writes(world.hub, world.dev) == written


def test_in_a_virtual_cluster_of_the_lab(hub: Path, tmp_path: Path) -> None:
    """Its server reaches the issuer through the walls, and a person's kubeconfig opens it from outside."""
    address = str(Lab.from_environment(os.environ).host_address)
    tenant = {"kubeconfig": hub, "tenant": "guests"}
    version = json.loads(ran(hub, "version", "-o", "json"))["serverVersion"]["gitVersion"]
    resources = {"cpu": "2", "memory": "2Gi", "storage": "6Gi", "pods": 5}
    options = {"version": version, "expose": {"type": "NodePort"}, "resources": resources, "name": "house"}
    path = tmp_path / "zoe.yaml"
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
    try:
        with running(tmp_path / "issuer", address) as issuer:
            made = run_module("vcluster", **tenant, **options, oidc=issuer.options())
            assert not made.failed, made.msg
            again = run_module("vcluster", **tenant, **options, oidc=issuer.options())
            assert not again.changed, again.data
            oidc = {"username": "zoe", **issuer.credential(tmp_path, "zoe")}
            zoe = run_module(
                "tenant_user", **tenant, name="zoe", role="developer", oidc=oidc, kubeconfig_path=str(path)
            )
            assert not zoe.failed, zoe.msg
            until(lambda: is_known(path, "guests--house"), 60)
            assert can(path, "guests--house", "create", "deployments")
            assert not can(path, "guests--house", "create", "clusterrolebindings")
    finally:
        run_module("vcluster", **tenant, name="house", state="absent")
        run_module("tenant_quota", **tenant, state="absent")
