"""The inventory plugin on rows that are given."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.tenantry.kube.plugins.inventory import vclusters
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import inventory_rows as vcluster_inventory

from .plugin_loading import load_plugin
from .rows import cluster, vcluster

try:
    from ansible.template import is_trusted_as_template
except ImportError:  # before ansible-core 2.19
    from ansible.utils.unsafe_proxy import AnsibleUnsafe

    def is_trusted_as_template(value: object) -> bool:
        return not isinstance(value, AnsibleUnsafe)


Parse = Callable[..., InventoryData]


class Fleet:
    """In the place of API servers; `reads` are the arguments of each reading, `kubeconfigs` what it connected by."""

    def __init__(self) -> None:
        self.fleet = [cluster("hub")]
        self.vclusters = [vcluster("dev"), vcluster("prod", tier="prod")]
        self.reads: list[tuple[str | None, bool]] = []
        self.kubeconfigs: list[str | None] = []

    def read(self, context: Context, tenant: str | None, *, live: bool) -> dict[str, list[dict]]:
        self.reads.append((tenant, live))
        self.kubeconfigs.append(context.module.params["kubeconfig"])
        return {"fleet": self.fleet, "vclusters": self.vclusters}


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    found = Fleet()
    monkeypatch.setattr(vcluster_inventory, "read", found.read)
    return found


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from ansible.utils.display import Display

    found: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text, *_more, **_others: found.append(text))
    return found


@pytest.fixture
def parse(fleet: Fleet, tmp_path: Path) -> Parse:
    del fleet

    def run(options: str = "", *, cache: bool = True) -> InventoryData:
        path = tmp_path / "hub.tenantry.yml"
        path.write_text(f"plugin: tenantry.kube.vclusters\n{options}")
        plugin, data = load_plugin("inventory", "vclusters"), InventoryData()
        assert plugin.verify_file(str(path))
        plugin.parse(data, DataLoader(), str(path), cache=cache)
        with contextlib.suppress(AttributeError):  # without a cache, as Ansible does
            plugin.update_cache_if_changed()
        return data

    return run


def template(data: InventoryData, host: str, value: Any) -> Any:
    return Templar(loader=DataLoader(), variables=data.hosts[host].vars).template(value)


def members(data: InventoryData, group: str) -> list[str]:
    return sorted(host.name for host in data.groups[group].get_hosts())


@pytest.mark.parametrize("name", ["hosts.yml", "tenantry.yml", "x.tenantry.json", "x.tenantry.yml/none.yml"])
def test_verify_file_other_names_are_not_ours(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert not load_plugin("inventory", "vclusters").verify_file(str(path))


def test_verify_file_both_endings_are_ours(tmp_path: Path) -> None:
    for name in ("hub.tenantry.yml", "hub.tenantry.yaml"):
        (tmp_path / name).touch()
        assert load_plugin("inventory", "vclusters").verify_file(str(tmp_path / name))


def test_parse_lists_virtual_clusters_and_fleet(parse: Parse) -> None:
    data = parse()
    assert sorted(data.hosts) == ["hub.fleet", "payments--dev", "payments--prod"]
    assert members(data, "tier_prod") == ["payments--prod"]
    assert members(data, "tenantry_vclusters") == ["payments--dev", "payments--prod"]


def test_parse_without_fleet_lists_virtual_clusters_only(parse: Parse) -> None:
    assert sorted(parse("fleet: false\n").hosts) == ["payments--dev", "payments--prod"]


def test_parse_options_reach_the_reading(parse: Parse, fleet: Fleet) -> None:
    parse("tenant: payments\nlive: false\n")
    parse()
    assert fleet.reads == [("payments", False), (None, True)]


def test_parse_query_selects_hosts(parse: Parse) -> None:
    assert sorted(parse("query: \"[?tier=='prod']\"\n").hosts) == ["hub.fleet", "payments--prod"]


@pytest.mark.parametrize("key", ["tenants", "querry", "flee"])
def test_parse_unknown_option_is_an_error(parse: Parse, fleet: Fleet, key: str) -> None:
    near = {"tenants": "tenant", "querry": "query", "flee": "fleet"}[key]
    with pytest.raises(AnsibleParserError, match=rf"^{key}: is no option \(did you mean {near}\?\)\. The options are"):
        parse(f"{key}: payments\n")
    assert fleet.reads == []


def test_parse_groups_exist_without_hosts(parse: Parse, fleet: Fleet) -> None:
    fleet.fleet, fleet.vclusters = [], []
    data = parse()
    assert (members(data, "tenantry_vclusters"), members(data, "tenantry_fleet")) == ([], [])


def test_parse_invalid_query_is_an_error(parse: Parse) -> None:
    with pytest.raises(AnsibleParserError, match=r"query: .* is not a valid query"):
        parse("query: '[?'\n")


def test_parse_reading_that_fails_is_one_line(parse: Parse, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise TenantryError("reading v1/Namespace on hub: 403 forbidden")

    monkeypatch.setattr(vcluster_inventory, "read", fail)
    with pytest.raises(AnsibleParserError) as caught:
        parse()
    assert str(caught.value) == "reading v1/Namespace on hub: 403 forbidden"


EVIL = "{{ lookup('pipe', 'touch %s') }}"


@pytest.mark.parametrize("cached", [False, True])
def test_parse_templates_in_data_are_never_evaluated(parse: Parse, fleet: Fleet, tmp_path: Path, cached: bool) -> None:
    """A tenant decides what its API server answers: its version, and the message of an error."""
    touched = tmp_path / "touched"
    evil = EVIL % touched
    fleet.vclusters = [vcluster("dev", version=evil, message=evil, tier=evil, resources={evil: {"used": evil}})]
    fleet.fleet = [cluster("hub", message=evil)]
    options = (
        "strict: true\ncompose: {copied: vcluster.message, joined: \"'x' ~ vcluster.version\"}\n"
        "groups: {same: vcluster is defined and vcluster.version == vcluster.message}\n"
        "keyed_groups: [{key: vcluster.version | default('none'), prefix: keyed}]\n"
    )
    if cached:
        options += f"cache: true\ncache_plugin: jsonfile\ncache_connection: {tmp_path / 'cache'}\n"
        parse(options.replace("strict: true", "strict: false"))
    data = parse(options.replace("strict: true", "strict: false"))
    variables = data.hosts["payments--dev"].vars
    assert template(data, "payments--dev", variables["vcluster"]) == fleet.vclusters[0]
    assert template(data, "payments--dev", variables["copied"]) == evil
    assert template(data, "payments--dev", variables["joined"]) == f"x{evil}"
    assert template(data, "hub.fleet", data.hosts["hub.fleet"].vars["fleet_cluster"])["message"] == evil
    assert not touched.exists()
    assert all(name.replace("_", "").isalnum() for name in data.groups)
    assert members(data, "same") == ["payments--dev"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("https://192.0.2.1:30001", True),
        ("v1.37.0+k3s1", True),
        ("2 of 3 nodes are ready", True),
        ("{{ 1 }}", False),
        ("{% if 1 %}", False),
        ("#jinja2: variable_start_string:'<<'\n<< 1 >>", False),
        ("lookup('pipe', 'id')", False),
        ("a\nb", False),
    ],
)
def test_parse_plain_text_is_plain_for_programs(parse: Parse, fleet: Fleet, text: str, plain: bool) -> None:
    """AWX reads the output of ansible-inventory, in which text that is not trusted is a dictionary."""
    fleet.vclusters = [vcluster("dev", message=text, sleep={"schedule": [text]})]
    row = parse().hosts["payments--dev"].vars["vcluster"]
    assert [is_trusted_as_template(found) for found in (row["message"], row["sleep"]["schedule"][0])] == [plain] * 2


def test_parse_own_templates_are_evaluated(parse: Parse) -> None:
    data = parse()
    variables = data.hosts["payments--dev"].vars | {"ansible_playbook_python": "/usr/bin/python9"}
    templar = Templar(loader=DataLoader(), variables=variables)
    assert templar.template(variables["ansible_python_interpreter"]) == "/usr/bin/python9"
    assert "lookup('tenantry.kube.kubeconfig', cluster_name" in variables["cluster_kubeconfig"]


def test_parse_kubeconfig_is_beside_the_inventory(parse: Parse, fleet: Fleet, tmp_path: Path) -> None:
    data = parse("kubeconfig: kubeconfigs/hub.yaml\ncontext: admin\n")
    absolute = str(tmp_path / "kubeconfigs" / "hub.yaml")
    assert fleet.kubeconfigs == [absolute]
    assert data.hosts["payments--dev"].vars["tenantry_hub"] == {"kubeconfig": absolute, "context": "admin"}


@pytest.mark.parametrize(
    "given", ["{clusters: [], users: [{user: {token: secret-0123}}]}", "|\n  clusters: []\n  token: secret-0123",
              "'{\"token\": \"secret-0123\"}'"]
)  # fmt: skip
def test_parse_kubeconfig_that_is_no_path_is_refused_unquoted(parse: Parse, fleet: Fleet, given: str) -> None:
    with pytest.raises(AnsibleParserError, match="kubeconfig: is no path") as caught:
        parse(f"kubeconfig: {given}\n")
    assert "secret-0123" not in str(caught.value)
    assert fleet.kubeconfigs == []


def test_for_lookup_kubeconfig_that_is_no_path_stays_out() -> None:
    """As options may be given one day: what holds a credential is in no inventory."""
    config = {"kubeconfig": {"users": [{"user": {"token": "secret"}}]}, "context": "admin"}
    given = vclusters._for_lookup(config, config)
    assert given == {"context": "admin"}


def test_parse_kubeconfig_of_environment_is_not_repeated(
    parse: Parse, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", "/etc/hub.yaml")
    assert parse().hosts["hub.fleet"].vars["tenantry_hub"] == {}
    assert fleet.kubeconfigs == ["/etc/hub.yaml"]


def test_parse_member_that_does_not_answer_is_a_warning(parse: Parse, fleet: Fleet, warnings: list[str]) -> None:
    fleet.fleet.append(cluster("edge", reachable=False, message="member 'edge': cannot connect"))
    data = parse()
    assert members(data, "status_unreachable") == ["edge.fleet"]
    assert warnings == ["Virtual clusters are missing from the inventory: member 'edge': cannot connect"]


def test_parse_member_that_does_not_answer_is_an_error(parse: Parse, fleet: Fleet) -> None:
    fleet.fleet.append(cluster("edge", reachable=False, message="member 'edge': cannot connect"))
    with pytest.raises(AnsibleParserError, match="member 'edge': cannot connect"):
        parse("unreachable_members: error\n")


@pytest.fixture
def cached(parse: Parse, tmp_path: Path) -> Parse:
    setting = f"cache: true\ncache_plugin: jsonfile\ncache_connection: {tmp_path / 'cache'}\n"
    return lambda options="", **more: parse(setting + options, **more)


def test_parse_cache_is_used_until_it_is_renewed(cached: Parse, fleet: Fleet) -> None:
    first = cached()
    assert cached().hosts["payments--dev"].vars == first.hosts["payments--dev"].vars
    assert len(fleet.reads) == 1
    cached(cache=False)
    assert len(fleet.reads) == 2


def test_parse_cache_of_other_options_is_not_used(cached: Parse, fleet: Fleet) -> None:
    cached()
    for options in ("tenant: payments\n", "live: false\n", "kubeconfig: other.yaml\n", "context: other\n"):
        cached(options)
    assert len(fleet.reads) == 5


def kubeconfig_of(path: Path, *addresses: str) -> str:
    """A file with a context for each address. The first is current."""
    contexts = [{"name": name, "context": {"cluster": name, "user": name}} for name in addresses]
    clusters = [{"name": name, "cluster": {"server": name}} for name in addresses]
    path.write_text(yaml.safe_dump({"contexts": contexts, "clusters": clusters, "current-context": addresses[0]}))
    return str(path)


def test_parse_cache_of_another_hub_is_not_used(
    cached: Parse, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By whatever the environment or the file says."""
    one, two = "https://one", "https://two"
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", kubeconfig_of(tmp_path / "first.yaml", one, two))
    cached()
    cached()
    assert len(fleet.reads) == 1
    kubeconfig_of(tmp_path / "first.yaml", two, one)
    cached()
    monkeypatch.setenv("K8S_AUTH_CONTEXT", one)
    cached()
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", kubeconfig_of(tmp_path / "other.yaml", one, two))
    cached()
    assert len(fleet.reads) == 4


def test_parse_cache_query_applies_to_what_is_cached(cached: Parse, fleet: Fleet) -> None:
    cached()
    assert sorted(cached("query: \"[?contains(tier, 'prod')]\"\n").hosts) == ["hub.fleet", "payments--prod"]
    assert len(fleet.reads) == 1


def test_parse_cache_repeats_warnings(cached: Parse, fleet: Fleet, warnings: list[str]) -> None:
    fleet.fleet.append(cluster("edge", reachable=False, message="cannot connect"))
    cached()
    cached()
    assert len(fleet.reads) == 1
    assert len(warnings) == 2


def test_parse_thousand_virtual_clusters_in_two_seconds(parse: Parse, fleet: Fleet) -> None:
    fleet.vclusters = [vcluster(f"v{number}", tenant=f"t{number % 50}") for number in range(1000)]
    start = time.process_time()
    data = parse("query: \"[?status=='Ready']\"\n")
    assert time.process_time() - start < 2
    assert len(members(data, "tenantry_vclusters")) == 1000
