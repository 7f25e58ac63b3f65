"""Who did what: from the audit logs of real API servers."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from .harness import AUDIT_LOG, ansible_playbook, call_module, kubectl, ran, until
from .people import User, add_vcluster, signed_inside, tokens

DEV, STAGE = "payments--dev", "payments--stage"


def _account(hub: Path, logs: dict[str, Path], **options: Any) -> list[dict[str, Any]]:
    given = [{"cluster": name, "path": kubeconfig.with_name(AUDIT_LOG)} for name, kubeconfig in logs.items()]
    found = call_module("audit_info", kubeconfig=hub, audit_logs=given, read_vclusters=False, **options)
    assert not found.failed, found.msg
    return found.data["events"]


def _lines(events: list[dict[str, Any]], *kinds: str) -> list[tuple[str, ...]]:
    return [(e["action"], e["kind"], e["name"], e["requested_by"] or e["actor"]) for e in events if e["kind"] in kinds]


def test_a_user_from_the_first_credential_to_the_last(
    payments: Path, dev: Path, stage: Path, user: User, tmp_path: Path
) -> None:
    logs = {"hub": payments, DEV: dev, STAGE: stage}
    before = len(_account(payments, logs, tenant="payments"))
    laptop = {"name": "laptop", "path": str(tmp_path / "laptop.yaml")}
    user(kubeconfig_path=None, kubeconfigs=[laptop], access=[{"vcluster": "dev"}])
    (held,) = [e for e in _account(payments, logs, tenant="payments")[before:] if e["kind"] == "credential"]
    assert (held["cluster"], held["name"], held["kubeconfig"]) == (DEV, "payments/dev bob", "laptop")
    assert (held["actor"], held["requested_by"], held["source"]) == ("tenantry:platform", "system:admin", "log")
    assert held["expires"] > held["time"]

    user(kubeconfig_path=None, role="viewer", access=[{"vcluster": "dev"}], kubeconfigs=[{**laptop, "state": "absent"}])
    user(state="absent", kubeconfig_path=None)
    told = _lines(_account(payments, logs, tenant="payments")[before:], "user", "role", "credential")
    revoked = [name for action, kind, name, _who in told if (action, kind) == ("revoked", "credential")]
    assert len(revoked) == 1
    assert revoked[0].startswith("payments/dev bob-laptop-")
    assert {line[3] for line in told} == {"system:admin"}
    for expected in (
        ("created", "user", "bob"), ("granted", "role", "bob: developer"), ("withdrawn", "role", "bob: developer"),
        ("granted", "role", "payments/dev bob: viewer"), ("deleted", "user", "payments/dev bob"),
        ("deleted", "user", "bob"),
    ):  # fmt: skip
        assert expected in {line[:3] for line in told}


def test_virtual_clusters_quotas_and_who_looked_inside(payments: Path, tmp_path: Path) -> None:
    logs = {"hub": payments}
    before = len(_account(payments, logs))
    assert call_module("tenant_quota", kubeconfig=payments, tenant="archive", quota={"cpu": 2}).changed
    add_vcluster(payments, "archive", "old")
    ran(payments, "create", "secret", "generic", "join-token", "-n", "archive--old")
    for _attempt in range(3):
        ran(payments, "get", "secret", "join-token", "-n", "archive--old")
    assert kubectl(payments, "delete", "namespace", "archive--none").returncode != 0
    ran(payments, "delete", "namespace", "archive--old")
    assert call_module("tenant_quota", kubeconfig=payments, tenant="archive", state="absent").changed
    found = _account(payments, logs, tenant="archive")
    assert _lines(found, "tenant", "quota", "vcluster") == [
        ("created", "tenant", "archive", "system:admin"),
        ("created", "quota", "archive", "system:admin"),
        ("created", "vcluster", "archive/old", "system:admin"),
        ("deleted", "vcluster", "archive/old", "system:admin"),
        ("deleted", "tenant", "archive", "system:admin"),
    ]
    (looked,) = [event for event in found if event["kind"] == "access"]
    assert (looked["action"], looked["name"], looked["count"]) == ("get", "archive/old secrets/join-token", 3)
    assert looked["tool"].startswith("kubectl/")
    assert {e["tool"] for e in found if e["kind"] == "quota"} == {"tenantry.kube"}
    assert len(_account(payments, logs)) >= before + len(found)
    assert _account(payments, logs, tenant="archive", since="1d") == found


def test_who_claims_to_be_the_platform_is_identified_by_the_credential(
    payments: Path, dev: Path, user: User, tmp_path: Path
) -> None:
    """A client says what it likes; a certificate that an administrator inside had signed can have the very name."""
    path = tmp_path / "users" / "bob.yaml"
    assert not user(role="admin").failed
    logs = {"hub": payments, DEV: dev}
    before = len(_account(payments, logs))
    agent = "tenantry.kube for system:admin"
    admin = kubeconfig_files.load(str(dev))
    forged = signed_inside(dev, "tenantry:platform")
    ran(dev, "create", "clusterrolebinding", "forged", "--clusterrole=cluster-admin", "--user=tenantry:platform")
    for credential in ({"token": tokens(path)["payments--dev"]}, forged):
        users = [{"name": "forger", "user": credential}]
        client = Cluster.from_kubeconfig({**admin, "users": users}, name="dev")
        client._client.client.user_agent = agent
        client.token_request("tenantry-system", "bob", seconds=3600, bound_secret=None)
        client.close()
    ran(dev, "delete", "clusterrolebinding", "forged")
    ran(dev, "delete", "csr", "--all")  # tests of findings would find it
    found = [e for e in _account(payments, logs)[before:] if (e["cluster"], e["kind"]) == (DEV, "credential")]
    assert [(e["actor"], e["requested_by"], e["platform"]) for e in found] == [
        ("bob", None, False),
        ("tenantry:platform", None, False),
    ]


@pytest.mark.parametrize("other", ["system:node:x", "system:kube-scheduler", "system:serviceaccount:kube-system:x"])
def test_an_administrator_does_not_vanish_behind_another_name(payments: Path, other: str) -> None:
    ran(payments, "create", "clusterrolebinding", "borrowed", "--clusterrole=cluster-admin", f"--user={other}")
    try:
        add_vcluster(payments, "payments", "old")
        until(lambda: kubectl(payments, "--as", other, "delete", "namespace", "payments--old").returncode == 0)
    finally:
        ran(payments, "delete", "clusterrolebinding", "borrowed")
        kubectl(payments, "delete", "namespace", "payments--old")
    told = [e for e in _account(payments, {"hub": payments}) if (e["action"], e["name"]) == ("deleted", "payments/old")]
    assert [e["actor"] for e in told if (e["acted_as"] or "").startswith(other)] == ["system:admin"]


def test_without_a_log_there_is_what_exists(payments: Path) -> None:
    found = call_module("audit_info", kubeconfig=payments, read_vclusters=False)
    assert found.data["without_log"] == ["hub"]
    told = {(e["action"], e["kind"], e["name"], e["actor"], e["source"]) for e in found.data["events"]}
    assert ("created", "vcluster", "payments/dev", None, "record") in told


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"audit_logs": [{"cluster": "edgy", "path": "/etc/hostname"}]}, "audit_logs: host 'edgy' is not in the fleet"),
        (
            {"audit_logs": [{"cluster": "hub", "path": "/etc/hostname"}]},
            "audit_logs: /etc/hostname has no audit events",
        ),
        ({"since": "soon"}, 'since: "soon" is not a duration'),
        ({"tenant": "A"}, 'tenant: "A" is not a valid name'),
    ],
)
def test_bad_input_is_one_line(payments: Path, options: dict[str, Any], line: str) -> None:
    refused = call_module("audit_info", kubeconfig=payments, **options)
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg


def test_the_playbook_reads_the_whole_fleet(site: Any, hub: Path, tmp_path: Path) -> None:
    """The hub's log over SSH, those of virtual clusters, one of them on a member, through the platform's tunnel."""
    del site
    ran(hub, "exec", "-n", DEV, "server-0", "-c", "k3s", "--", "true")
    kept = tmp_path / "audit.json"
    run = ansible_playbook("playbooks/audit.yml", "-e", f"audit_path={kept}")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = json.loads(kept.read_text())
    assert {log["cluster"] for log in found["logs"]} == {"hub", DEV, STAGE, "research--lab"}
    assert (found["without_log"], found["late_logs"], found["unreachable_vclusters"]) == (["edge"], {}, {})
    told = set(_lines(found["events"], "tenant", "vcluster", "user", "credential", "access"))
    assert ("created", "vcluster", "payments/dev", "system:admin") in told
    assert ("created", "user", "bob", "system:admin") in told
    assert ("exec", "access", "payments/dev pods/server-0", "system:admin") in told
    # The API server inside knows the platform only; on whose behalf it acted is told with the request.
    issued = [e for e in found["events"] if (e["kind"], e["name"]) == ("credential", "research/lab dave")]
    assert {(e["actor"], e["requested_by"], e["source"]) for e in issued} == {
        ("tenantry:platform", "system:admin", "log")
    }
    # The repository's ansible.cfg has YAML, which folds long lines.
    assert "payments/dev pods/server-0" in " ".join(run.stdout.split())
    again = ansible_playbook(
        "playbooks/audit.yml", "-e", f"audit_path={tmp_path / 'audit.csv'}", "-e", "audit_since=1h"
    )
    assert "failed=0" in again.stdout
    assert (tmp_path / "audit.csv").read_text().startswith("time,cluster,tenant,")
