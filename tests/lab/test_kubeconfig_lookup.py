"""The lookup kubeconfig: one token for all runs, renewed in time, and none left over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens, client
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    inside_administrator,
    inside_base,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users import kubeconfig_lookup
from ansible_collections.tenantry.kube.plugins.plugin_utils import _context

from .harness import call_module, kubectl, ran
from .people import User, add_vcluster, can, is_known, is_refused, labels_of, server, silent_member

DEV = "payments--dev"
MINUTE = 60
OURS = "tenantry.dev/component=kubeconfig"
SYSTEM = ("-n", "tenantry-system")

Lookup = Callable[..., Path]


@pytest.fixture
def administrator(payments: Path, dev: Path) -> Iterator[None]:
    """What the module vcluster creates in every virtual cluster. Before and after a test there is no token."""
    cluster = client.Cluster.from_kubeconfig(kubeconfig_files.load(str(dev)), name="dev")
    Plan.make(cluster, [*inside_base(), *inside_administrator(labels_of("payments", "dev"))]).execute()
    yield
    ran(dev, "delete", "secrets,serviceaccounts,clusterrolebindings", *SYSTEM, "-l", "tenantry.dev/vcluster=dev")
    ran(payments, "delete", "secrets", "-n", DEV, "-l", OURS)


@pytest.fixture
def lookup(payments: Path, tmp_path: Path) -> Lookup:
    """Writes what the lookup returns to a file of its own."""
    numbers = iter(range(1000))

    def run(cluster: str = DEV, *, user: str | None = None, host: str | None = None, lifetime: str = "1h") -> Path:
        config = _context.run(
            {"kubeconfig": str(payments)},
            pytest.fail,
            lambda context: kubeconfig_lookup.run(context, cluster, user, host, lifetime),
            LookupError,
        )
        path = tmp_path / f"{next(numbers)}.yaml"
        kubeconfig_files.write(str(path), config)
        return path

    return run


def token_in(path: Path) -> str:
    return str(yaml.safe_load(path.read_text())["users"][0]["user"]["token"])


def bound_secrets(dev: Path) -> list[str]:
    """What tokens of the lookup are bound to."""
    return ran(dev, "get", "secrets", *SYSTEM, "-l", OURS, "-o", "name").split()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the lookup believe that it is so many seconds later."""

    def move(seconds: int) -> None:
        clock = SimpleNamespace(time=lambda: time.time() + seconds)
        monkeypatch.setattr(kubeconfig_lookup, "time", clock)

    return move


@pytest.fixture
def no_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what is there had been there for a while."""
    monkeypatch.setattr(kubeconfig_lookup, "AT_ONCE", timedelta())


def test_lookup_runs_share_one_token(administrator: None, lookup: Lookup, dev: Path) -> None:
    found = [lookup() for _run in range(5)]
    assert len({path.read_bytes() for path in found}) == 1
    assert yaml.safe_load(found[0].read_text())["current-context"] == DEV
    assert server(found[0]) == server(dev)
    assert can(found[0], DEV, "create", "namespaces")
    assert len(bound_secrets(dev)) == 1


def test_lookup_stored_token_is_no_object_of_the_vcluster(administrator: None, lookup: Lookup, payments: Path) -> None:
    """A run of the module vcluster prunes what it selects and does not render."""
    lookup()
    selector = naming.selector("vcluster", tenant="payments", vcluster="dev")
    secrets = ran(payments, "get", "secrets", "-n", DEV, "-o", "name").split()
    assert f"secret/{kubeconfig_lookup.STORE}" in secrets
    assert ran(payments, "get", "secrets", "-n", DEV, "-l", selector, "-o", "name") == ""


def test_lookup_runs_at_once_share_one_token(administrator: None, lookup: Lookup, dev: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _run: lookup(), range(6)))
    assert len({token_in(path) for path in found}) == 1
    assert len(bound_secrets(dev)) == 1
    assert is_known(found[0], DEV)


def test_lookup_run_overtaken_by_another_has_its_token(
    administrator: None, lookup: Lookup, dev: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes when this one has issued a token, and not stored it."""
    verify, others = bound_tokens.verify, []

    def late(cluster: client.Cluster, credential: bound_tokens.Credential) -> None:
        monkeypatch.setattr(bound_tokens, "verify", verify)
        others.append(lookup())
        verify(cluster, credential)

    monkeypatch.setattr(bound_tokens, "verify", late)
    found = lookup()
    assert token_in(found) == token_in(others[0])
    assert len(bound_secrets(dev)) == 1
    assert is_known(found, DEV)


def test_lookup_renews_and_the_former_token_stays_for_a_while(
    administrator: None, lookup: Lookup, dev: Path, later: Callable[[int], None], no_other_run: None
) -> None:
    first = lookup()
    later(39 * MINUTE)
    assert token_in(lookup()) == token_in(first)
    later(41 * MINUTE)
    second = lookup()
    assert token_in(second) != token_in(first)
    later(0)
    assert token_in(lookup()) == token_in(second)
    assert is_known(first, DEV)  # for what runs now
    assert is_known(second, DEV)
    later(41 * MINUTE)
    third = lookup()
    assert is_refused(first, DEV)
    assert is_known(second, DEV)
    assert is_known(third, DEV)
    assert len(bound_secrets(dev)) == 2


def test_lookup_revoked_token_is_replaced(administrator: None, lookup: Lookup, dev: Path) -> None:
    first = lookup()
    ran(dev, "delete", *SYSTEM, *bound_secrets(dev))
    second = lookup()
    assert is_refused(first, DEV)
    assert is_known(second, DEV)


def test_lookup_lost_copy_ends_its_token(
    administrator: None, lookup: Lookup, dev: Path, payments: Path, no_other_run: None
) -> None:
    first = lookup()
    ran(payments, "delete", "secret", "-n", DEV, kubeconfig_lookup.STORE)
    second = lookup()
    assert is_refused(first, DEV)
    assert is_known(second, DEV)
    assert len(bound_secrets(dev)) == 1


def test_lookup_token_of_a_former_account_is_replaced(administrator: None, lookup: Lookup, dev: Path) -> None:
    first = lookup()
    account = json.loads(ran(dev, "get", "serviceaccount", "platform-admin", *SYSTEM, "-o", "json"))
    ran(dev, "delete", "serviceaccount", "platform-admin", *SYSTEM)
    account["metadata"] = {key: account["metadata"][key] for key in ("name", "namespace", "labels")}
    ran(dev, "create", "-f", "-", stdin=json.dumps(account))
    second = lookup()
    assert token_in(second) != token_in(first)
    assert is_known(second, DEV)


def test_lookup_other_administrators_tokens_stay(
    administrator: None, lookup: Lookup, dev: Path, tmp_path: Path
) -> None:
    """Those of the option kubeconfig_path of the module vcluster."""
    labels = labels_of("payments", "dev")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "platform-admin-0", "labels": labels}}
    ran(dev, "create", *SYSTEM, "-f", "-", stdin=json.dumps(secret))
    lookup()
    lookup(lifetime="15m")
    assert kubectl(dev, "get", "secret", "platform-admin-0", *SYSTEM).returncode == 0


def test_lookup_user_gets_what_is_stored(user: User, lookup: Lookup, dev: Path, payments: Path) -> None:
    with pytest.raises(LookupError, match="the hub keeps no kubeconfig of bob that leads to payments--dev"):
        lookup(user="bob")
    secret = {"namespace": "tenant-payments", "name": "bob-ci"}
    made = user(kubeconfig_path=None, kubeconfigs=[{"name": "ci", "secret": secret}])
    assert not made.failed, made.msg
    before = bound_secrets(dev), ran(dev, "get", "secrets", *SYSTEM, "-o", "name")
    found = lookup(user="bob")
    assert yaml.safe_load(found.read_text())["current-context"] == DEV
    assert can(found, DEV, "create", "deployments")
    assert not can(found, DEV, "create", "namespaces")
    assert (bound_secrets(dev), ran(dev, "get", "secrets", *SYSTEM, "-o", "name")) == before
    assert kubectl(payments, "get", "secret", "-n", DEV, kubeconfig_lookup.STORE).returncode != 0


def test_lookup_unknown_name_is_an_error(lookup: Lookup) -> None:
    with pytest.raises(LookupError, match=r"no virtual cluster payments--other in the fleet\. Check the name"):
        lookup("payments--other")


def test_lookup_silent_member_counts_only_for_what_may_be_there(
    administrator: None, payments: Path, lookup: Lookup
) -> None:
    with silent_member(payments):
        assert is_known(lookup(), DEV)
        with pytest.raises(LookupError, match=r"payments--other in the fleet; not asked: .*'edge'.*Check the name"):
            lookup("payments--other")


def test_lookup_namespace_that_is_no_virtual_cluster_is_an_error(payments: Path, lookup: Lookup) -> None:
    ran(payments, "create", "namespace", "payments--fake")
    try:
        with pytest.raises(LookupError, match="there is no virtual cluster payments--fake"):
            lookup("payments--fake")
    finally:
        ran(payments, "delete", "namespace", "payments--fake")


def test_lookup_hub_is_what_was_given(payments: Path, lookup: Lookup) -> None:
    assert kubectl(lookup("hub"), "get", "namespace", "tenantry-system").returncode == 0
    with pytest.raises(LookupError, match="user: hub is no virtual cluster"):
        lookup("hub", user="bob")


@pytest.fixture
def member(payments: Path, second_api_server: Path) -> Iterator[Path]:
    """A member with a virtual cluster, in whose namespace the platform has its rights."""
    options: dict[str, Any] = {"kubeconfig": payments, "name": "far", "member_kubeconfig": second_api_server}
    joined = call_module("fleet_member", **options)
    assert not joined.failed, joined.msg
    add_vcluster(second_api_server, "payments", "lab")
    account = "--serviceaccount=tenantry-system:tenantry-platform"
    ran(
        second_api_server,
        "create",
        "rolebinding",
        "p",
        "-n",
        "payments--lab",
        "--clusterrole",
        rbac.MANAGER_ROLE,
        account,
    )
    yield second_api_server
    ran(second_api_server, "delete", "namespace", "payments--lab")
    removed = call_module("fleet_member", **options, state="absent")
    assert not removed.failed, removed.msg


def test_lookup_member_is_the_platforms_own(member: Path, lookup: Lookup) -> None:
    found = lookup("far")
    assert server(found) == server(member)
    assert kubectl(found, "get", "statefulsets", "--all-namespaces").returncode == 0
    assert "forbidden" in kubectl(found, "get", "secrets", "--all-namespaces").stderr


def test_lookup_platform_may_keep_the_token_on_a_member(
    administrator: None, member: Path, lookup: Lookup, monkeypatch: pytest.MonkeyPatch, dev: Path
) -> None:
    """With the API server of `dev` in the place of that of the virtual cluster there."""
    connection = kubeconfig_lookup.connection
    inside, endpoint = connection.inside, connection.endpoint
    monkeypatch.setattr(connection, "inside", lambda host, _namespace: inside(host, DEV))
    monkeypatch.setattr(connection, "endpoint", lambda found: server(dev) if found.name == "lab" else endpoint(found))
    found = [lookup("payments--lab"), lookup("payments--lab", host="far")]
    assert token_in(found[0]) == token_in(found[1])
    assert is_known(found[0], "payments--lab")
    assert ran(member, "get", "secrets", "-n", "payments--lab", "-o", "name").split() == [
        f"secret/{kubeconfig_lookup.STORE}"
    ]
    with pytest.raises(LookupError, match="there is no virtual cluster payments--lab on hub"):
        lookup("payments--lab", host="hub")
    ran(dev, "delete", "secrets", *SYSTEM, "-l", "tenantry.dev/vcluster=lab")
