"""The inventories that people copy use only options that the modules have."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tenantry.kube.plugins.filter.tenant_items import tenant_items
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import mode_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import OPTIONS

ROOT = Path(__file__).resolve().parents[3]
FRAGMENTS = "ansible_collections.tenantry.kube.plugins.doc_fragments"
MODULES = {
    "quotas": ("tenant_quota", "tenants"),
    "users": ("tenant_user", "users"),
    "vclusters": ("vcluster", "vclusters"),
}
INVENTORIES = sorted(path for path in (ROOT / "inventories").iterdir() if path.is_dir())

inventory = pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.name)


def variables(inventory: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in [*inventory.glob("group_vars/all.yml"), *inventory.glob("group_vars/all/*.yml")]:
        merged |= yaml.safe_load(path.read_text())
    return merged


def options(key: str) -> dict[str, Any]:
    """The suboptions of the list that the module takes in one call, as its documentation has them."""
    module, option = MODULES[key]
    documented = documentation(ROOT / f"plugins/modules/{module}.py")
    sources = [documented]
    for fragment in documented["extends_documentation_fragment"]:
        found = importlib.import_module(f"{FRAGMENTS}.{fragment.split('.')[2]}")
        sources.append(yaml.safe_load(found.ModuleDocFragment.DOCUMENTATION))
    return next(source["options"][option] for source in sources if option in source.get("options", {}))["suboptions"]


def documentation(file: Path) -> dict[str, Any]:
    """What a module assigns to DOCUMENTATION."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Assign(targets=[ast.Name(id="DOCUMENTATION")], value=ast.Constant(value=text)):
                return yaml.safe_load(text)
    raise AssertionError(f"{file} has no documentation")


def unknown(item: dict[str, Any], known: dict[str, Any], where: str) -> list[str]:
    found = [f"{where}.{key}" for key in item if key not in known]
    for key, value in item.items():
        inner = known.get(key, {}).get("suboptions")
        if inner and isinstance(value, dict):
            found += unknown(value, inner, f"{where}.{key}")
    return found


@inventory
def test_tenants_users_and_vclusters_have_known_options(inventory: Path) -> None:
    found = []
    for tenant in variables(inventory)["tenantry_tenants"]:
        rest = {"tenant": tenant["name"]} | {k: v for k, v in tenant.items() if k not in ("name", "users", "vclusters")}
        found += unknown(rest, options("quotas"), tenant["name"])
        for key in ("users", "vclusters"):
            for item in tenant[key]:
                found += unknown(item, options(key), f"{tenant['name']}.{key}.{item['name']}")
    assert found == []


@inventory
@pytest.mark.parametrize(
    ("variable", "key"), [("tenantry_vcluster_defaults", "vclusters"), ("tenantry_user_defaults", "users")]
)
def test_defaults_are_known_options(inventory: Path, variable: str, key: str) -> None:
    assert unknown(variables(inventory).get(variable, {}), options(key), variable) == []


@inventory
def test_vclusters_are_on_hosts_of_the_inventory(inventory: Path) -> None:
    fleet = yaml.safe_load((inventory / "hosts.yml").read_text())
    hosts = {"hub", *fleet["fleet_members"]["hosts"]}
    tenants = variables(inventory)["tenantry_tenants"]
    assert {vcluster.get("host", "hub") for tenant in tenants for vcluster in tenant["vclusters"]} <= hosts


@inventory
def test_vclusters_can_be_made(inventory: Path) -> None:
    """What the inventory leaves to other variables is the same for all: version, registries, the syncer's image."""
    found = variables(inventory)
    rest = {"version": "v1.34.4+k3s1", "registries": None, "syncer_image": found["tenantry_syncer_image"]}
    for item in tenant_items(found["tenantry_tenants"], "vclusters", {**found["tenantry_vcluster_defaults"], **rest}):
        checked = ArgumentSpecValidator(OPTIONS).validate(item)
        assert not checked.error_messages
        given = checked.validated_parameters
        parse({**given, "mode": mode_of(given["mode"], None)})
