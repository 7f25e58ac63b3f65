"""The patch of the inventory: applied as it stands, by the programs that administrators use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._usage import inventory_patch
from ansible_collections.tenantry.kube.plugins.module_utils._usage.inventory_patch import InventoryFile
from ansible_collections.tenantry.kube.plugins.module_utils._usage.sizing import Proposal

from .fleet import GIB

EXAMPLE = Path(__file__).parents[4] / "inventories" / "example"
TITLE = "Right-sizing of today"


def proposal(
    vcluster: str | None, resource: str, current: float, proposed: float, tenant: str = "payments"
) -> Proposal:
    unit = 1 if resource == "cpu" else GIB
    amounts = (Decimal(str(amount)) * unit for amount in (current, proposed))
    return Proposal(tenant, vcluster, resource, *amounts, "why")


def tenants_of(inventory: Path) -> dict[str, Any]:
    """Return the tenants as Ansible reads them, by name."""
    command = [sys.executable, "-m", "ansible", "inventory", "-i", str(inventory), "--host", "hub"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return {one["name"]: one for one in json.loads(found)["tenantry_tenants"]}


PATCH = pytest.param("patch -p1", marks=pytest.mark.skipif(not shutil.which("patch"), reason="no program patch"))


@pytest.mark.parametrize("program", [PATCH, "git apply"])
def test_patch_of_the_example_is_applied_and_read_by_ansible(tmp_path: Path, program: str) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "inventory")
    file = inventory_patch.read(tmp_path / "inventory")
    assert file.name == "group_vars/all/tenants.yml"
    changes = [
        proposal("prod", "cpu", 6, 2.25),
        proposal("dev", "memory", 8, 5.25),
        proposal(None, "storage", 500, 300),
        proposal("notebooks", "storage", 200, 40, "research"),
    ]
    made = inventory_patch.Editor(file).patch(changes, TITLE)
    assert made.left_out == {}
    assert made.text.startswith(f"{TITLE}\npayments/prod: cpu 6 -> 2250m: why\n")
    subprocess.run(program.split(), cwd=tmp_path / "inventory", input=made.text, text=True, check=True, timeout=60)
    new = (tmp_path / "inventory" / file.name).read_text()
    # Nothing but the amounts: each line is there, with its comment.
    assert new == (
        file.text.replace(
            "cpu: 6, memory: 24Gi, storage: 200Gi, pods: 100", "cpu: 2250m, memory: 24Gi, storage: 200Gi, pods: 100"
        )
        .replace("memory: 8Gi", "memory: 5376Mi")
        .replace("500Gi", "300Gi")
        .replace("200Gi, pods: 40", "40Gi, pods: 40")
    )
    if program != "git apply":  # Ansible reads both alike
        return
    found = tenants_of(tmp_path / "inventory")
    expected = {one["name"]: one for one in yaml.safe_load(file.text)["tenantry_tenants"]}
    expected["payments"]["quota"]["storage"] = "300Gi"
    expected["payments"]["vclusters"][0]["resources"]["cpu"] = "2250m"
    expected["payments"]["vclusters"][1]["resources"]["memory"] = "5376Mi"
    expected["research"]["vclusters"][0]["resources"]["storage"] = "40Gi"
    assert found == expected


STYLES = """\
# The tenants.
all:
  vars:
    tenantry_tenants:
    - name: payments        # ours
      quota: {"cpu": "8", 'memory': '16Gi'}
      vclusters:
      - {name: plain, resources: {cpu: 4, memory: 8192Mi}}   # by alice
      - name: block
        resources:
          cpu: 4000m   # cores
          secret: !vault |
            $ANSIBLE_VAULT;1.1;AES256
"""
CHANGES = [
    proposal(None, "cpu", 8, 6),
    proposal(None, "memory", 16, 12),
    proposal("plain", "cpu", 4, 1.5),
    proposal("plain", "memory", 8, 2),
    proposal("block", "cpu", 4, 1),
]


def changed(directory: Path, text: str, *proposals: Proposal, name: str = "hosts.yml") -> tuple[str, dict[str, str]]:
    """Return the text after `git apply`, and the reasons for what was left out."""
    made = inventory_patch.Editor(InventoryFile(name, text)).patch(proposals, TITLE)
    path = directory / name
    path.write_bytes(text.encode())
    command = ["git", "apply", "--allow-empty"]
    subprocess.run(command, cwd=directory, input=made.text.encode(), check=True, timeout=60)
    return path.read_bytes().decode(), {one.about: reason for one, reason in made.left_out.items()}


@pytest.mark.parametrize(
    "text", [STYLES, STYLES[: STYLES.index("   # cores")], STYLES.replace("\n", "\r\n")], ids=["LF", "no end", "CRLF"]
)
def test_only_amounts_change_in_any_style(tmp_path: Path, text: str) -> None:
    new, left_out = changed(tmp_path, text, *CHANGES)
    assert left_out == {}
    expected = text.replace('"8"', '"6"').replace("'16Gi'", "'12Gi'").replace("cpu: 4, ", "cpu: 1500m, ")
    assert new == expected.replace("8192Mi", "2Gi").replace("4000m", "1")


def test_json_stays_json(tmp_path: Path) -> None:
    data = {"tenantry_tenants": [{"name": "payments", "quota": {"cpu": 8}}]}
    new, left_out = changed(tmp_path, json.dumps(data, indent=1), proposal(None, "cpu", 8, 6.5), name="all.json")
    data["tenantry_tenants"][0]["quota"]["cpu"] = "6500m"  # type: ignore[index]
    assert (json.loads(new), left_out) == (data, {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[{name: research}]", "not in the inventory"),
        ("'{{ of_teams }}'", "not in the inventory"),
        ("[{name: payments}, {name: payments}]", "not in the inventory"),
        ("[{name: payments}]", "the inventory does not set quota.cpu in its item"),
        ("[{name: payments, quota: '{{ small }}'}]", "the inventory does not set quota.cpu in its item"),
        ("[{name: payments, quota: {cpu: 9}}]", "the inventory has another amount or an expression"),
        ("[{name: payments, quota: {cpu: '{{ cores }}'}}]", "the inventory has another amount or an expression"),
        ("[{name: payments, quota: {cpu: [8]}}]", "the inventory has another amount or an expression"),
        (
            "[{name: payments, quota: &small {cpu: 8}}, {name: research, quota: *small}]",
            "the inventory uses this value in several places",
        ),
    ],
)
def test_what_cannot_be_changed_is_named(text: str, reason: str) -> None:
    editor, one = inventory_patch.Editor(InventoryFile("all.yml", f"tenantry_tenants: {text}\n")), CHANGES[0]
    assert not editor.editable(one)
    made = editor.patch([one], TITLE)
    assert made.text == ""
    assert [one.startswith(reason) for one in made.left_out.values()] == [True]


def test_inventory_with_the_tenants_in_two_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TenantryError, match=r"inventory: tenantry_tenants is set in no YAML file of "):
        inventory_patch.read(tmp_path)
    (tmp_path / "group_vars").mkdir()
    for name in ("hosts.yml", "group_vars/all"):
        (tmp_path / name).write_text("tenantry_tenants: []\n")
    (tmp_path / "group_vars" / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\ntenantry_tenants\n")
    (tmp_path / "group_vars" / ".hosts.yml.swp").write_text("tenantry_tenants: []\n")
    with pytest.raises(TenantryError, match=r"set in group_vars/all and hosts\.yml of .* needs exactly one"):
        inventory_patch.read(tmp_path / "hosts.yml")
    (tmp_path / "hosts.yml").write_text("# tenantry_tenants are in group_vars\n")
    (tmp_path / "hosts").write_text("# no tenantry_tenants\n[all]\nhub ansible_connection=local\n")
    assert inventory_patch.read(tmp_path / "hosts.yml").name == "group_vars/all"


def test_inventory_that_is_missing_or_no_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TenantryError, match=r"inventory: .*/none does not exist\. Set the directory or file"):
        inventory_patch.read(tmp_path / "none")
    (tmp_path / "hosts.yml").write_text("tenantry_tenants: [\n")
    with pytest.raises(TenantryError, match=r"inventory: .*hosts\.yml cannot be read: .*Correct the file"):
        inventory_patch.read(tmp_path)
