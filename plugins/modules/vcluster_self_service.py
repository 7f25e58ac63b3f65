#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_self_service
short_description: Make the virtual clusters and users that tenants ask for
version_added: 0.1.0
description:
  - Developers and admins of a tenant make objects of the kind C(VirtualClusterRequest) in the tenant's home namespace
    on the hub. This module makes the virtual clusters they ask for, within the tenant's budget, as
    M(tenantry.kube.vcluster) would, and deletes those whose request was deleted. It is meant to be run by cron or an
    AWX schedule, see the playbook C(self_service).
  - Admins of a tenant make objects of the kind C(TenantUserRequest) there. This module makes the users they ask for, as
    M(tenantry.kube.tenant_user) would, with at most the rights of who asks, and removes those whose request is gone.
    The first kubeconfig of such a user is in the Secret C(invitation-NAME) of the home namespace, for who asked, and
    ends after a day.
  - A request for a virtual cluster says name, slice, version, Pod Security level, expiry and sleep. All else is as
    O(defaults) says.
  - Who asked is an administrator inside, all other users of the tenant have the rights there that they have in the
    tenant's other virtual clusters. Users with O(tenantry.kube.tenant_user#module:hub_access) find a kubeconfig in the
    Secret C(kubeconfig-NAME) of the home namespace, which nobody else of the tenant may read.
  - What became of a request is written in its status. One that is refused does not stop others, nor does it make the
    module fail.
  - Virtual clusters and users that were not asked for by a request are never touched.
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
  - A virtual cluster that is paused stays so until its request is changed.
  - Where the home namespace, or the kind of the requests, is younger than a virtual cluster, its request may have been
    lost rather than deleted, and the virtual cluster stays.
  - Check mode foresees the virtual cluster or user of a new request, but not what is made inside the former.
  - With O(watch), a request for a user is seen after up to five seconds, one for a virtual cluster at once.
options:
  tenant:
    description: Look after this tenant's requests only. All if not set.
    type: str
  versions:
    description: Releases of k3s that a request may ask for, beside O(defaults.version), which it gets otherwise.
    type: list
    elements: str
    default: []
  watch:
    description:
      - Seconds to wait for further requests, and to do them as they come. V(0) does what is due and ends.
      - Not in check mode.
    type: int
    default: 0
  wait:
    description: Whether to wait until what is made is ready, and what is deleted is gone.
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
- name: What is due now
  tenantry.kube.vcluster_self_service:
    kubeconfig: ~/.kube/hub.yaml
    defaults: {version: v1.34.4+k3s1}
  check_mode: true
  register: due

- name: Do it, and whatever is asked for within the next ten minutes
  tenantry.kube.vcluster_self_service:
    kubeconfig: ~/.kube/hub.yaml
    watch: 600
    versions: [v1.33.9+k3s1]
    defaults:
      version: v1.34.4+k3s1
      expose: {type: NodePort}
      pod_security: restricted
      expires: 30d
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
      description: The namespace of the virtual cluster on its host. The tenant's home namespace for a user.
      returned: always
      type: str
    requested_by: {description: Who asks for it. Empty where the request is gone., returned: always, type: str}
    phase:
      description:
        - V(Ready), V(Pending), V(Paused), V(Refused), V(Failed), V(Expired) or V(Deleted).
        - V(Refused) is for what cannot be had, and nothing was made. V(Failed) is for what should have been possible.
      returned: always
      type: str
    message: {description: Why., returned: always, type: str}
    changed: {description: Whether anything was changed for it., returned: always, type: bool}
    actions:
      description: What was changed, or would be in check mode.
      returned: always
      type: list
      elements: dict
    error: {description: Why it could not be done for this one. It was for the others., returned: failure, type: str}
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec
from ansible_collections.tenantry.kube.plugins.module_utils._module import main as run_module
from ansible_collections.tenantry.kube.plugins.module_utils._self_service import reconcile as _self_service
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import DEFAULTS

OPTIONS = {"tenant": {"type": "str"}}


def main() -> None:
    spec = argument_spec(
        **OPTIONS,
        defaults={"type": "dict", "apply_defaults": True, "options": DEFAULTS},
        versions={"type": "list", "elements": "str", "default": []},
        watch={"type": "int", "default": 0},
        wait={"type": "bool", "default": True},
        wait_timeout={"type": "int", "default": 300},
    )
    run_module(spec, _self_service.run, item_options=OPTIONS, key=None)


if __name__ == "__main__":
    main()
