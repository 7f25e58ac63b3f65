#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_housekeeping
short_description: Delete expired virtual clusters, pause unused ones, renew certificates
version_added: 0.1.0
description:
  - Applies the options C(ttl) and C(sleep) of M(tenantry.kube.vcluster) that are due now. Run it every few minutes,
    by cron or an AWX schedule, see the playbook C(housekeeping).
  - The module reads from the metrics of its API server whether a virtual cluster is in use. They count requests of
    users separately from those of controllers. Users are identities with credentials of M(tenantry.kube.tenant_user) or
    with the administrator's kubeconfig. Changes of workloads by any client count too.
  - Restarts virtual clusters whose servers or agents have run for 60 days, one server after the other, because k3s
    renews its certificates only at a start. All are valid for 90 days after it. One without a volume is not restarted,
    but reported.
  - A virtual cluster that sleeps returns the resources of its pods to its tenant's quota, see
    O(tenantry.kube.tenant_quota#module:paused_frees_quota). If the quota has no room when it is to be resumed, that is
    an error, and the next run tries again.
  - Each run records its observations on the namespace of the virtual cluster. The first run only records, so no virtual
    cluster is paused as idle before the second one.
  - A virtual cluster that does not answer is not paused as idle, and is reported as an error.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
attributes:
  idempotent:
    support: partial
    details: What is due depends on the time.
notes:
  - Records of use are not reported as a change.
options:
  tenant:
    description: Only virtual clusters of this tenant. Defaults to all.
    type: str
  wait:
    description:
      - Whether to wait until paused ones have stopped, resumed and restarted ones are ready and deleted ones are gone.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for each.
    type: int
    default: 300
seealso:
  - module: tenantry.kube.vcluster
"""

EXAMPLES = r"""
- name: Show the actions that are due
  tenantry.kube.vcluster_housekeeping:
    kubeconfig: ~/.kube/hub.yaml
  check_mode: true
  register: due

- name: Perform them
  tenantry.kube.vcluster_housekeeping:
    kubeconfig: ~/.kube/hub.yaml
"""

RETURN = r"""
results:
  description: A row for each virtual cluster, by tenant and name.
  returned: always
  type: list
  elements: dict
  contains:
    tenant: {description: Its tenant., returned: always, type: str}
    name: {description: Its name., returned: always, type: str}
    host: {description: The cluster of the fleet it is on., returned: always, type: str}
    namespace: {description: Its namespace there., returned: always, type: str}
    action:
      description: The action that was due, V(delete), V(pause), V(resume), V(restart) or V(none).
      returned: always
      type: str
    reason: {description: Why., returned: always, type: str, sample: 'expired at 2026-12-09T09:00:00Z'}
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
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import housekeeping
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import OPTIONS as CALL_OPTIONS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions

OPTIONS = {"tenant": {"type": "str"}}


def main() -> None:
    spec = argument_spec(
        **OPTIONS,
        **CALL_OPTIONS,
    )
    run_module(spec, housekeeping.run, options=VClusterOptions.of, item_options=OPTIONS, key=None)


if __name__ == "__main__":
    main()
