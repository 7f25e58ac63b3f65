"""Kubeconfigs of users: several of them, issued, rotated and revoked one by one, kept in files, vaults and Secrets."""

from __future__ import annotations

import base64
import json
import os
import platform
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens, client
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files

from .harness import AUDIT_LOG, call_module, everything, kubectl
from .people import User, all_writes, contexts, is_known, is_refused, tokens

DEV, STAGE = "payments--dev", "payments--stage"
TIME = "%Y-%m-%dT%H:%M:%SZ"


def _credential_secrets(inside: Path) -> dict[str, dict[str, str]]:
    """The annotations of bob's credentials by the names of their kubeconfigs."""
    selector = "tenantry.dev/user=bob"
    found = kubectl(inside, "get", "secrets", "-n", "tenantry-system", "-l", selector, "-o", "json")
    annotations = [item["metadata"]["annotations"] for item in json.loads(found.stdout)["items"]]
    return {found["tenantry.dev/kubeconfig"]: found for found in annotations}


def _copy(path: Path) -> Path:
    copy = path.with_name(f"{path.name}.old")
    copy.write_bytes(path.read_bytes())
    return copy


@pytest.fixture
def two(user: User, tmp_path: Path) -> dict[str, Any]:
    """Options that give bob two kubeconfigs, made already."""
    kubeconfigs = [{"name": name, "path": str(tmp_path / f"{name}.yaml")} for name in ("laptop", "ci")]
    options = {"kubeconfig_path": None, "kubeconfigs": kubeconfigs}
    made = user(**options)
    assert not made.failed, made.msg
    assert [(row["name"], row["contexts"], row["changed"]) for row in made.data["results"][0]["kubeconfigs"]] == [
        ("laptop", [DEV, STAGE], True),
        ("ci", [DEV, STAGE], True),
    ]
    return options


def test_of_two_kubeconfigs_one_is_revoked(two: dict[str, Any], dev: Path, user: User, tmp_path: Path) -> None:
    laptop, ci = tmp_path / "laptop.yaml", tmp_path / "ci.yaml"
    lost = _copy(laptop)
    assert not user(**two).changed
    gone = {**two["kubeconfigs"][0], "state": "absent"}
    options = {**two, "kubeconfigs": [gone, two["kubeconfigs"][1]]}
    predicted = user(check=True, **options)
    assert laptop.exists()
    revoked = user(**options)
    assert revoked.data["actions"] == predicted.data["actions"]
    assert not laptop.exists()
    assert is_refused(lost, DEV)
    assert is_refused(lost, STAGE)
    assert is_known(ci, DEV)
    assert list(_credential_secrets(dev)) == ["ci"]
    assert not user(**options).changed


def test_all_kubeconfigs_are_revoked_and_the_user_stays(two: dict[str, Any], dev: Path, user: User, tmp_path: Path):
    del two
    everything_ended = user(kubeconfig_path=None, kubeconfigs=[], purge_kubeconfigs=True)
    assert everything_ended.changed
    assert is_refused(tmp_path / "laptop.yaml", DEV)
    assert is_refused(tmp_path / "ci.yaml", DEV)
    assert _credential_secrets(dev) == {}
    assert kubectl(dev, "get", "serviceaccount", "-n", "tenantry-system", "bob").returncode == 0
    assert not user(kubeconfig_path=None, kubeconfigs=[], purge_kubeconfigs=True).changed


def test_only_what_is_asked_for_is_rotated(two: dict[str, Any], user: User, tmp_path: Path) -> None:
    laptop, ci = tmp_path / "laptop.yaml", tmp_path / "ci.yaml"
    old, content = _copy(laptop), ci.read_bytes()
    options = {**two, "kubeconfigs": [{**two["kubeconfigs"][0], "force": True}, two["kubeconfigs"][1]]}
    assert user(**options).changed
    assert is_known(laptop, DEV)
    assert is_refused(old, DEV)
    assert ci.read_bytes() == content
    assert not user(**two).changed


def test_the_new_one_is_proven_before_the_old_one_ends(
    two: dict[str, Any], user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop = tmp_path / "laptop.yaml"
    content = laptop.read_bytes()

    def unproven(*_: object) -> None:
        raise TenantryError("a token just granted is not accepted")

    with monkeypatch.context() as patch:
        patch.setattr(bound_tokens, "verify", unproven)
        refused = user(**two, force=True)
    assert refused.failed
    assert "a token just granted is not accepted" in refused.msg
    assert laptop.read_bytes() == content
    assert is_known(laptop, DEV)
    assert not user(**two).failed
    assert is_known(laptop, DEV)


def test_a_token_that_is_not_accepted_is_reported(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = client.Cluster.from_kubeconfig(kubeconfig_files.load(str(dev)), name="dev")
    monkeypatch.setattr(bound_tokens, "PROOF_DELAY", 0)
    with pytest.raises(TenantryError, match="dev: a token just granted is not accepted"):
        bound_tokens.verify(inside, bound_tokens.Credential("eyJhbGciOiJub25lIn0.e30.", "", {}))


def test_the_granted_lifetime_is_the_one_reported(user: User, dev: Path, stage: Path, tmp_path: Path) -> None:
    """Asked for 30 days; the API server of `stage` grants two at most."""
    before = datetime.now(UTC)
    made = user(kubeconfig_path=None, kubeconfigs=[{"name": "laptop", "path": str(tmp_path / "laptop.yaml")}])
    granted = {
        context: datetime.fromtimestamp(bound_tokens.claims(token).expires, UTC)
        for context, token in tokens(tmp_path / "laptop.yaml").items()
    }
    a_minute = timedelta(minutes=1)
    assert abs(granted[DEV] - before - timedelta(days=30)) < a_minute
    assert abs(granted[STAGE] - before - timedelta(days=2)) < a_minute
    assert made.data["expires"] == granted[STAGE].strftime(TIME)
    assert _credential_secrets(dev)["laptop"]["tenantry.dev/expires"] == granted[DEV].strftime(TIME)
    assert _credential_secrets(stage)["laptop"]["tenantry.dev/expires"] == granted[STAGE].strftime(TIME)


def test_each_kubeconfig_has_its_lifetime(user: User, tmp_path: Path) -> None:
    kubeconfigs = [
        {"name": "short", "path": str(tmp_path / "short.yaml"), "lifetime": "1h"},
        {"name": "long", "path": str(tmp_path / "long.yaml")},
    ]
    user(kubeconfig_path=None, kubeconfigs=kubeconfigs, lifetime="36h")
    for name, hours in (("short", 1), ("long", 36)):
        for token in tokens(tmp_path / f"{name}.yaml").values():
            claims = bound_tokens.claims(token)
            assert claims.expires - claims.issued == hours * 3600


def test_who_asked_and_when_is_kept(two: dict[str, Any], dev: Path, tmp_path: Path) -> None:
    del two
    known = _credential_secrets(dev)["laptop"]
    claims = bound_tokens.claims(tokens(tmp_path / "laptop.yaml")[DEV])
    assert known["tenantry.dev/requested-by"] == "system:admin"
    assert known["tenantry.dev/issued"] == datetime.fromtimestamp(claims.issued, UTC).strftime(TIME)
    # By this id the API server's own audit log names the credential in each request.
    whoami = kubectl(tmp_path / "laptop.yaml", "--context", DEV, "auth", "whoami", "-o", "json")
    extra = json.loads(whoami.stdout)["status"]["userInfo"]["extra"]
    assert extra["authentication.kubernetes.io/credential-id"] == [known["tenantry.dev/credential-id"]]


@pytest.fixture
def ci(payments: Path) -> Any:
    """A namespace of the hub for a program of bob's."""
    kubectl(payments, "create", "namespace", "ci")
    yield "ci"
    kubectl(payments, "delete", "namespace", "ci")


def test_a_kubeconfig_in_a_secret(payments: Path, ci: str, user: User, tmp_path: Path) -> None:
    before = everything(payments)
    options = {
        "kubeconfig_path": None,
        "kubeconfigs": [{"name": "ci", "secret": {"namespace": ci, "name": "bob"}}],
    }
    predicted = user(check=True, **options)
    made = user(diff=True, **options)
    assert made.data["actions"] == predicted.data["actions"]
    (row,) = made.data["results"][0]["kubeconfigs"]
    assert row["secret"] == {"namespace": ci, "name": "bob"}
    found = json.loads(kubectl(payments, "get", "secret", "-n", ci, "bob", "-o", "json").stdout)
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(base64.b64decode(found["data"]["kubeconfig"]))
    assert contexts(copy) == [DEV, STAGE]
    assert is_known(copy, DEV)
    assert not [token for token in tokens(copy).values() if token in made.text]
    again = user(diff=True, **options)
    assert (again.changed, again.data["actions"]) == (False, [])

    rotated = user(force=True, **options)
    assert rotated.changed
    assert is_refused(copy, DEV)
    user(state="absent", kubeconfig_path=None)
    assert everything(payments) ^ before == set()


def test_runs_on_any_machine_share_one_kubeconfig(
    payments: Path, dev: Path, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As jobs of AWX, each in a new container without files of the one before."""
    secret = {"namespace": "tenant-payments", "name": "inventory-kubeconfig-bob"}  # as the filter tenant_items names it
    options = {"kubeconfig_path": None, "kubeconfigs": [{"name": "default", "secret": secret}]}
    monkeypatch.setattr(platform, "node", lambda: "first")
    first = user(**options)
    assert first.changed, first.msg
    for number in range(3):
        monkeypatch.setattr(platform, "node", lambda job=f"job-{number}": job)
        again = user(**options)
        assert (again.failed, again.changed) == (False, False), again.msg
    assert list(_credential_secrets(dev)) == ["default"]
    stored = kubectl(payments, "get", "secret", "inventory-kubeconfig-bob", "-n", "tenant-payments", "-o", "json")
    assert json.loads(stored.stdout)["data"]["kubeconfig"]
    assert not user(state="absent", kubeconfig_path=None).failed
    assert kubectl(payments, "get", "secret", "inventory-kubeconfig-bob", "-n", "tenant-payments").returncode == 1


def test_a_secret_of_somebody_else_is_left_alone(payments: Path, ci: str, user: User) -> None:
    kubectl(payments, "create", "secret", "generic", "bob", "-n", ci, "--from-literal=kubeconfig=mine")
    refused = user(kubeconfigs=[{"name": "ci", "secret": {"namespace": ci, "name": "bob"}}])
    assert "Secret ci/bob exists and is not a kubeconfig of user bob" in refused.msg
    found = json.loads(kubectl(payments, "get", "secret", "-n", ci, "bob", "-o", "json").stdout)
    assert base64.b64decode(found["data"]["kubeconfig"]) == b"mine"


def test_a_kubeconfig_in_a_vault(user: User, tmp_path: Path) -> None:
    password, path = tmp_path / "password", tmp_path / "bob.vault.yaml"
    password.write_text("correct horse")
    kubeconfig = {"name": "laptop", "path": str(path), "vault_password_file": str(password)}
    options = {"kubeconfig_path": None, "kubeconfigs": [kubeconfig]}
    made = user(**options)
    assert not made.failed, made.msg
    assert path.read_text().startswith("$ANSIBLE_VAULT;")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    plain = tmp_path / "plain.yaml"
    plain.write_text(_decrypted(path, password))
    assert is_known(plain, DEV)
    assert not user(**options).changed

    password.write_text("wrong")
    refused = user(**options)
    assert "vault_password_file: ansible-vault cannot view" in refused.msg
    assert "\n" not in refused.msg
    assert is_known(plain, DEV)


def _decrypted(path: Path, password: Path) -> str:
    program = Path(sys.executable).with_name("ansible-vault")
    run = subprocess.run(
        [program, "view", "--vault-password-file", password, path], capture_output=True, text=True, check=True
    )
    return run.stdout


def test_a_kubeconfig_that_changes_its_name_leaves_no_live_token(user: User, dev: Path, tmp_path: Path) -> None:
    path = tmp_path / "bob.yaml"
    user(kubeconfig_path=path)
    old = _copy(path)
    named = user(kubeconfig_path=None, kubeconfigs=[{"name": "laptop", "path": str(path)}])
    assert named.changed
    assert is_known(path, DEV)
    assert is_refused(old, DEV)
    assert list(_credential_secrets(dev)) == ["laptop"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_file_for_its_owner_from_the_first_moment(user: User, tmp_path: Path, umask: int) -> None:
    """Looked at while it is written: nobody else can read a temporary file or enter the directory either."""
    seen: set[int] = set()

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[0]).startswith(str(tmp_path)):
            temporary = Path(os.fsdecode(arguments[0]))
            seen.update({stat.S_IMODE(temporary.stat().st_mode), stat.S_IMODE(temporary.parent.stat().st_mode)})

    sys.addaudithook(look)
    previous = os.umask(umask)
    try:
        user(kubeconfig_path=tmp_path / "users" / "bob.yaml")
    finally:
        os.umask(previous)
    assert seen == {0o600, 0o700}
    assert stat.S_IMODE((tmp_path / "users" / "bob.yaml").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("kubeconfig", "line"),
    [
        ({"name": "a_b", "path": "/nowhere/x"}, "kubeconfigs.name"),
        ({"name": "laptop"}, "neither path nor secret is given for kubeconfig laptop of user bob"),
        ({"path": "/nowhere/x", "secret": {"namespace": "ci", "name": "bob"}}, "path and secret are both given"),
        ({"path": "/nowhere/x", "lifetime": "1m"}, "lifetime of kubeconfig laptop of user bob"),
        ({"path": "/nowhere/x", "lifetime": "366d"}, "too long. Use 365d or less"),
        ({"secret": {"namespace": "nowhere", "name": "bob"}}, "there is no namespace nowhere on the hub"),
        ({"secret": {"namespace": "ci", "name": "Bob"}}, "kubeconfigs.secret.name"),
        ({"path": "/nowhere/y", "vault_password_file": "/nowhere/x"}, "vault_password_file: names no file"),
        ({"vault_password_file": "/etc/hostname"}, "vault_password_file needs a path"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    payments: Path, dev: Path, stage: Path, user: User, kubeconfig: dict[str, Any], line: str
) -> None:
    written = all_writes(payments, dev, stage)
    refused = user(kubeconfigs=[{"name": "laptop", **kubeconfig}])
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg
    assert "Traceback" not in refused.text
    assert all_writes(payments, dev, stage) == written


def test_one_name_is_given_once(user: User) -> None:
    twice = [{"name": "laptop", "path": f"/tmp/{n}"} for n in (1, 2)]
    assert "laptop is given twice for user bob" in user(kubeconfigs=twice).msg


def test_who_holds_what_is_listed(payments: Path, two: dict[str, Any], dev: Path, tmp_path: Path) -> None:
    del two
    assert is_known(tmp_path / "laptop.yaml", DEV)  # used, the other is not
    log = dev.with_name(AUDIT_LOG)
    found = call_module("tenant_user_info", kubeconfig=payments, tenant="payments", audit_logs=[log])
    (bob,) = found.data["users"]
    assert (bob["name"], bob["role"], bob["access"]) == ("bob", "developer", None)
    assert [(row["vcluster"], row["role"]) for row in bob["vclusters"]] == [
        ("dev", "developer"),
        ("stage", "developer"),
    ]
    held = {(row["kubeconfig"], row["vcluster"]): row for row in bob["credentials"]}
    assert set(held) == {(name, vcluster) for name in ("laptop", "ci") for vcluster in ("dev", "stage")}
    for (name, vcluster), row in held.items():
        token = tokens(tmp_path / f"{name}.yaml")[f"payments--{vcluster}"]
        assert row["expires"] == bound_tokens.claims(token).expires_at
        assert (row["requested_by"], row["expired"]) == ("system:admin", False)
        assert token not in found.text
    assert held["laptop", "dev"]["last_used"] >= held["laptop", "dev"]["issued"]
    assert {key for key, row in held.items() if row["last_used"]} == {("laptop", "dev")}


def test_what_is_no_audit_log_is_refused(payments: Path) -> None:
    refused = call_module("tenant_user_info", kubeconfig=payments, audit_logs=["/etc/hostname"])
    assert refused.msg.startswith("audit_logs: /etc/hostname has no audit events. Use the file")
    missing = call_module("tenant_user_info", kubeconfig=payments, audit_logs=["/nowhere"])
    assert missing.msg == "audit_logs: cannot read /nowhere: No such file or directory. Use an audit log"
