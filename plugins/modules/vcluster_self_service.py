#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_self_service
short_description: Process requests of tenants for virtual clusters and users
version_added: 0.1.0
description:
  - Developers and admins of a tenant create objects of the kind C(VirtualClusterRequest) in the tenant's namespace
    on the hub. The module creates the requested virtual clusters within the tenant's quota, as
    M(tenantry.kube.vcluster) would, and deletes those whose request was deleted. Run it by cron, an AWX schedule
    or O(tenantry.kube.platform#module:reconciler), see the playbook C(self_service).
  - Admins of a tenant create objects of the kind C(TenantUserRequest) there. The module creates the requested users, as
    M(tenantry.kube.tenant_user) would, with at most the requester's rights, and removes those whose request is gone.
    The Secret C(initial-kubeconfig-NAME) of the tenant namespace holds the first kubeconfig of such a user for the
    requester. It expires after a day.
  - A request for a virtual cluster has name, resources, version, Pod Security level, expiry and sleep. Everything else
    comes from O(defaults).
  - The requester is an administrator of the virtual cluster. All other users of the tenant have the same rights as in
    the tenant's other virtual clusters. The Secret C(kubeconfig-NAME) of the tenant namespace holds a kubeconfig for
    each user with O(tenantry.kube.tenant_user#module:hub_access). No other user of the tenant may read it.
  - The module writes the result to the status of a request. A denied request does not stop others and does not fail
    the module.
  - The module never changes virtual clusters and users without a request.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.vcluster.defaults
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
attributes:
  idempotent:
    support: partial
    details: What is due depends on the time where requests expire.
notes:
  - A paused virtual cluster stays paused until its request is changed and the quota has room.
  - If the tenant namespace, or the kind of the requests, is younger than a virtual cluster, its request may have been
    lost rather than deleted. The module keeps the virtual cluster.
  - Check mode predicts the virtual cluster or user of a new request, but not the objects in the virtual cluster.
  - With O(watch), the module sees a request for a user within five seconds, one for a virtual cluster at once.
options:
  tenant:
    description: Only requests of this tenant. Defaults to all.
    type: str
  versions:
    description: Releases of k3s that a request may have besides O(defaults.version), which is the default.
    type: list
    elements: str
    default: []
  watch:
    description:
      - Seconds to wait for more requests and process them at once. V(0) processes existing requests and ends.
      - Ignored in check mode.
    type: int
    default: 0
  wait:
    description: Whether to wait until created ones are ready and deleted ones are gone.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for each.
    type: int
    default: 300
seealso:
  - module: tenantry.kube.vcluster
  - module: tenantry.kube.tenant_user
"""

EXAMPLES = r"""
- name: Show the requests that are due
  tenantry.kube.vcluster_self_service:
    kubeconfig: ~/.kube/hub.yaml
    defaults: {version: v1.37.2+k3s1, syncer_image: 'registry.example.com/tenantry/syncer:0.1.0'}
  check_mode: true
  register: due

- name: Process them, and the requests of the next ten minutes
  tenantry.kube.vcluster_self_service:
    kubeconfig: ~/.kube/hub.yaml
    watch: 600
    versions: [v1.36.3+k3s1]
    defaults:
      version: v1.37.2+k3s1
      syncer_image: registry.example.com/tenantry/syncer:0.1.0
      expose: {type: NodePort}
      pod_security: restricted
      ttl: 30d
"""

RETURN = r"""
results:
  description: A row for each request, and for each virtual cluster and user whose request is gone.
  returned: always
  type: list
  elements: dict
  contains:
    kind: {description: V(vcluster) or V(user)., returned: always, type: str}
    tenant: {description: Its tenant., returned: always, type: str}
    name: {description: Its name., returned: always, type: str}
    namespace:
      description: The namespace of the virtual cluster on its host. The tenant's namespace for a user.
      returned: always
      type: str
    requested_by: {description: The requester. Empty if the request is gone., returned: always, type: str}
    phase:
      description:
        - V(Ready), V(Pending), V(Paused), V(Denied), V(Failed), V(Expired) or V(Deleted).
        - V(Denied) means that the request is not allowed and nothing was created. V(Failed) means an error.
      returned: always
      type: str
    message: {description: The reason., returned: always, type: str}
    changed: {description: Whether anything was changed for it., returned: always, type: bool}
    actions:
      description: What was changed, or would be in check mode.
      returned: always
      type: list
      elements: dict
    error: {description: Why this one failed. The others were processed., returned: failure, type: str}
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec
from ansible_collections.tenantry.kube.plugins.module_utils._module import main as run_module
from ansible_collections.tenantry.kube.plugins.module_utils._self_service import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import OPTIONS as CALL_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import DEFAULTS

OPTIONS = {"tenant": {"type": "str"}}


def main() -> None:
    spec = argument_spec(
        **OPTIONS,
        defaults={"type": "dict", "apply_defaults": True, "options": DEFAULTS},
        versions={"type": "list", "elements": "str", "default": []},
        watch={"type": "int", "default": 0},
        **CALL_OPTIONS,
    )
    run_module(spec, reconcile.run, options=reconcile.SelfServiceOptions.of, item_options=OPTIONS, key=None)


if __name__ == "__main__":
    main()
