# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: kubeconfig
short_description: Kubeconfig of a virtual cluster, for the time of a task
version_added: 0.1.0
author:
  - The tenantry.kube authors (@tenantry)
description:
  - Returns a kubeconfig for a virtual cluster, as modules of C(kubernetes.core) take it.
  - By default it is that of the virtual cluster's administrator. All runs on all machines share one token, which the
    host keeps in the Secret C(playbook-credential) in the namespace of the virtual cluster. When less than a third of
    its lifetime is left, the next lookup issues another. The former token expires within that third.
  - With O(user), it is what the hub keeps for that user in the namespace of the tenant. Nothing is issued then.
  - For a member of the fleet, it is the platform's own credential there, which has few rights. For C(hub), it is the
    kubeconfig of the connection options.
  - The machine that runs Ansible must reach the endpoint of the virtual cluster.
  - The lookup also issues a token in check mode, if there is none.
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
options:
  _terms:
    description: Names of virtual clusters, as C(TENANT--NAME), or of clusters of the fleet.
    type: list
    elements: str
    required: true
  user:
    description: Name of the user of the tenant whose kubeconfig to return. An empty name is an error.
    type: str
  host:
    description:
      - The cluster of the fleet that the virtual cluster is on, V(hub) or the name of a member.
      - If not set, the lookup searches the hub, then all members.
    type: str
  lifetime:
    description:
      - Lifetime of a token that is issued, V(15m) to V(1d). The API server may grant less.
      - Ignored if a shared token exists that is still valid for a third of its lifetime, or with O(user).
    type: str
    default: 1h
  file:
    description:
      - Whether to return the path of a file with the kubeconfig. Only its owner can read it, and Ansible removes it at
        the end of the run. Within five minutes, later tasks of the run use the same file, even if the token was revoked
        or the virtual cluster has other CAs since.
      - With modules of other collections this keeps the token out of their arguments, which C(-vvv) shows.
    type: bool
    default: false
notes:
  - ansible-core 2.22 and later masks the credential in all output. For earlier releases, use O(file) or C(no_log).
seealso:
  - plugin: tenantry.kube.vclusters
    plugin_type: inventory
  - module: tenantry.kube.tenant_user
"""

EXAMPLES = r"""
- name: List the pods of a virtual cluster
  kubernetes.core.k8s_info:
    kubeconfig: "{{ lookup('tenantry.kube.kubeconfig', 'payments--dev', kubeconfig='~/.kube/hub.yaml', file=true) }}"
    kind: Pod

- name: List them as a user sees them
  kubernetes.core.k8s_info:
    kubeconfig: "{{ lookup('tenantry.kube.kubeconfig', 'payments--dev', user='alice') }}"
    kind: Pod
  no_log: true
"""

RETURN = r"""
_raw:
  description: A kubeconfig for each term, as a dictionary or, with O(file), as a path.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._users import kubeconfig_lookup
from ansible_collections.tenantry.kube.plugins.plugin_utils import _context, _kubeconfig_file

OPTIONS = ("user", "host", "lifetime")


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        known = [name for name in self.get_options() if not name.startswith("_")]
        _context.raising(lambda: _context.require_known(kwargs, known), AnsibleError)
        return [self._found(str(term)) for term in terms]

    def _found(self, cluster: str) -> Any:
        given = self.get_options()
        asked = [given[option] for option in OPTIONS]

        def config() -> dict[str, Any]:
            return _context.run(
                given,
                self._display.warning,
                lambda context: kubeconfig_lookup.run(context, cluster, *asked),
                TenantryError,
            )

        def answer() -> Any:
            if not given["file"]:
                return config()
            return _kubeconfig_file.path_for([cluster, asked, _context.connection(given)], config)

        return _context.raising(answer, AnsibleError)
