# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: vclusters
short_description: Virtual clusters of the fleet as an inventory
version_added: 0.1.0
author:
  - The tenantry.kube authors (@tenantry)
description:
  - Reads the virtual clusters of the whole fleet from the hub. Each is a host C(TENANT--NAME), such as
    C(payments--dev). The hub and the members are hosts too, such as C(hub.fleet), because the inventory of the platform
    may have a machine that is called C(hub).
  - The inventory file must end in C(.tenantry.yml) or C(.tenantry.yaml).
  - Neither the inventory nor its cache holds a credential. The variable C(cluster_kubeconfig) of each host gets one by
    the lookup P(tenantry.kube.kubeconfig#lookup) when a task uses it.
  - C(vcluster) is the row of RV(tenantry.kube.vcluster_info#module:vclusters) for a virtual cluster, C(fleet_cluster)
    has C(name), C(server), C(version), C(reachable) and C(message) of the hub or a member. The version of a member is
    that of the time when it joined. C(cluster_name) is the name for the lookup, C(cluster_host) that of the cluster of
    the fleet. Ansible never evaluates templates in these values.
  - C(ansible_connection) is V(local), and modules run with the Python of Ansible.
  - All virtual clusters are in the group C(tenantry_vclusters), and in one group each by tenant, cluster of the fleet,
    mode, tier, status and version, such as C(tenant_payments), C(cluster_gcp_1), C(mode_shared), C(tier_prod),
    C(status_not_ready) and C(version_v1_37_0_k3s1). All characters but letters and digits are C(_) in these names.
  - The hub and the members are in the group C(tenantry_fleet), those that do not answer in C(status_unreachable) too.
    This group and C(tenantry_vclusters) exist even if they are empty.
requirements:
  - jmespath >= 1.0.0 (with O(query))
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Name of this plugin.
    type: str
    required: true
    choices: [tenantry.kube.vclusters]
  kubeconfig:
    description:
      - Kubeconfig file of the hub, on the machine that runs Ansible. A relative path starts at the directory of the
        inventory file.
      - If not set, the plugin looks for it as all modules do, see M(tenantry.kube.vcluster).
      - Its server must be an C(https://) address with verification.
    type: raw
  tenant:
    description: Only virtual clusters of this tenant.
    type: str
  query:
    description:
      - Only virtual clusters that this JMESPath filter selects from RV(tenantry.kube.vcluster_info#module:vclusters).
    type: str
  fleet:
    description:
      - Whether the hub and the members are hosts too.
      - If V(false), options of O(groups), O(keyed_groups) and O(compose) with O(strict=true) can rely on C(vcluster).
    type: bool
    default: true
  live:
    description:
      - Whether to read the state of each virtual cluster from its own API server, as M(tenantry.kube.vcluster_info)
        does.
      - If V(false), the plugin sends a few requests to each cluster of the fleet and none to virtual clusters, which
        suits hundreds of them. A virtual cluster is V(Ready) if a server, in mode V(shared) a syncer, and in mode
        V(dedicated) an agent is ready. C(nodes) and C(certificates_valid_until) are null, and C(version) is the
        configured one.
    type: bool
    default: true
  unreachable_members:
    description:
      - How to handle members that do not answer. Their virtual clusters are missing from the inventory.
      - V(warning) shows a warning for each, also when it reads them from the cache.
      - V(error) makes the inventory source fail. By default, Ansible only warns about such a source, and a play on no
        hosts succeeds. To end the run, set C(any_unparsed_is_failed=true) in the section C([inventory]) of
        C(ansible.cfg).
    type: str
    choices: [warning, error]
    default: warning
seealso:
  - plugin: tenantry.kube.kubeconfig
    plugin_type: lookup
  - module: tenantry.kube.vcluster_info
"""

EXAMPLES = r"""
# hub.tenantry.yml
plugin: tenantry.kube.vclusters
kubeconfig: ~/.kube/hub.yaml

---
# Production of one tenant, with a group for each expiry date and a cache
plugin: tenantry.kube.vclusters
kubeconfig: kubeconfigs/hub.yaml
tenant: payments
query: "[?tier=='prod' && status=='Ready']"
live: false
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/tenantry
fleet: false
strict: true
keyed_groups:
  - prefix: expires
    key: vcluster.expires | default('never', true)
compose:
  endpoint: vcluster.endpoint

---
# A playbook that works in every virtual cluster
- name: List the nodes of every virtual cluster
  hosts: tenantry_vclusters
  gather_facts: false
  module_defaults:
    group/kubernetes.core.k8s:
      kubeconfig: "{{ cluster_kubeconfig }}"
  tasks:
    - name: List the nodes
      kubernetes.core.k8s_info:
        kind: Node
"""

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.tenantry.kube.plugins.module_utils._core import query
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import hub_kubeconfig, kubeconfig_option
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import inventory_rows as vcluster_inventory
from ansible_collections.tenantry.kube.plugins.plugin_utils import _context, _inventory

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core before 2.19 trusts whatever is not marked
    trust_as_template = None

HARMLESS = re.compile(r"[A-Za-z0-9_ .,:;/+@%-]*")
FORMAT = 1  # of what is cached
SUFFIXES = (".tenantry.yml", ".tenantry.yaml")
Rows = dict[str, list[dict]]


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "tenantry.kube.vclusters"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(SUFFIXES)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache=cache)
        config = self._read_config_data(path)
        _context.raising(lambda: _context.require_known(config, self.get_options()), AnsibleParserError)
        given = self.get_options() | _context.raising(lambda: _beside(path, config), AnsibleParserError)
        rows = self._rows(path, given, use_cache=cache)
        for problem in _unreachable(rows):
            self.display.warning(f"Virtual clusters are missing from the inventory: {problem}")
        if expression := self.get_option("query"):
            vclusters, example = rows["vclusters"], "[?status=='Ready']"
            rows["vclusters"] = _context.raising(
                lambda: query.select(expression, vclusters, "namespace", example), AnsibleParserError
            )
        if not self.get_option("fleet"):
            rows["fleet"] = []
        for group in (_inventory.VCLUSTERS, _inventory.FLEET):
            self.inventory.add_group(group)
        for host in _inventory.hosts(rows, _for_lookup(given, config)):
            self._add(host)

    def _rows(self, path: str, given: dict[str, Any], *, use_cache: bool) -> Rows:
        """From the cache, if it is on, has them, and is not to be renewed."""
        caching = self.get_option("cache")
        if not caching:
            return self._read_all(given)
        fingerprint = _context.raising(lambda: _fingerprint(given), AnsibleParserError)
        key = f"{self.get_cache_key(path)}_{fingerprint}"
        if use_cache:
            with suppress(KeyError):
                return _plain(self._cache[key])
        rows = self._read_all(given)
        self._cache[key] = _plain(rows)
        return rows

    def _read_all(self, given: dict[str, Any]) -> Rows:
        """Fail if the option says so and a member does not answer."""
        rows = self._read(given)
        problems = _unreachable(rows)
        if problems and self.get_option("unreachable_members") == "error":
            raise AnsibleParserError("; ".join(problems))
        return rows

    def _read(self, given: dict[str, Any]) -> Rows:
        tenant, live = self.get_option("tenant"), self.get_option("live")
        return _context.run(
            given,
            self.display.warning,
            lambda context: vcluster_inventory.read(context, tenant, live=live),
            AnsibleParserError,
        )

    def _add(self, host: _inventory.Host) -> None:
        self.inventory.add_host(host.name)
        for group in host.groups:
            self.inventory.add_child(self.inventory.add_group(group), host.name)
        variables = {name: _as_data(value) for name, value in host.variables.items()}
        templates = {name: _trusted(text) for name, text in _inventory.TEMPLATES.items()}
        for name, value in (variables | templates).items():
            self.inventory.set_variable(host.name, name, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host.name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host.name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host.name, strict=strict)


def _as_data(value: Any) -> Any:
    """Never to be evaluated. Of text, only what cannot be a template or an expression is left as it is."""
    if isinstance(value, dict):
        return {name: _as_data(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_data(one) for one in value]
    if not isinstance(value, str):
        return value
    return _trusted(value) if HARMLESS.fullmatch(value) else _untrusted(value)


def _trusted(text: str) -> str:
    return trust_as_template(text) if trust_as_template else text


def _untrusted(text: str) -> str:
    """As ansible-inventory prints it, it is a dictionary, which not every reader of that knows."""
    if trust_as_template:
        return text
    from ansible.utils.unsafe_proxy import wrap_var  # which later releases are about to remove

    return wrap_var(text)


def _unreachable(rows: Rows) -> list[str]:
    return [row["message"] for row in rows["fleet"] if not row["reachable"]]


def _plain(rows: Rows) -> Rows:
    """Plain types, whatever a cache plugin makes of them."""
    return json.loads(json.dumps(rows))


def _beside(path: str, config: dict[str, Any]) -> dict[str, Any]:
    """The kubeconfig of the file, whose relative path starts beside the file.

    Ansible's own check of a path would quote a dictionary in its error, with the credentials.
    """
    given = config.get("kubeconfig")
    if given is not None and (not isinstance(given, str) or kubeconfig_option.is_content(given)):
        raise TenantryError(
            "kubeconfig: is no path. Set the path of a file, because hosts get this option as a variable"
        )
    if not given or given.startswith(("~", "$")):
        return {}
    return {"kubeconfig": str(Path(path).absolute().parent / given)}


def _for_lookup(given: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The connection options of the file, for the lookup to use the same: names and numbers, never a credential."""
    named = ("kubeconfig", "context", "timeout")
    return {name: given[name] for name in named if isinstance(config.get(name), (str, int))}


def _fingerprint(given: dict[str, Any]) -> str:
    """Tells apart what was read from another hub, or by other options."""
    hub, names = _context.connection(given), ("tenant", "live", "unreachable_members")
    address = None
    with suppress(TenantryError):  # reading says why
        address = hub_kubeconfig.server(hub["kubeconfig"], hub["context"])
    text = json.dumps([FORMAT, address, hub, *(given.get(name) for name in names)], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
