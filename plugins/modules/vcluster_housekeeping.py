#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_housekeeping
short_description: Delete virtual clusters that have expired and pause those that are not used
version_added: 0.1.0
description:
  - Does what the options C(expires) and C(sleep) of M(tenantry.kube.vcluster) say, as far as it is due now. It is meant
    to be run every few minutes, by cron or an AWX schedule, see the playbook C(housekeeping).
  - Whether a virtual cluster is in use is read from the metrics of its API server, which counts requests of persons
    apart from those of controllers. Persons are those whose credentials were made by M(tenantry.kube.tenant_user) or
    are the administrator's kubeconfig. Changes of workloads count, whoever makes them.
  - What a run has seen is noted on the namespace of the virtual cluster. The first run only looks, so nothing is paused
    for being idle before a second one.
  - A virtual cluster that cannot be asked is not paused for being idle, and reported as an error.
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
  - Notes about use are not reported as a change.
options:
  tenant:
    description: Look after this tenant's virtual clusters only. All if not set.
    type: str
  wait:
    description: Whether to wait until what is paused has stopped, what is resumed is ready, what is deleted is gone.
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
- name: What is due now
  tenantry.kube.vcluster_housekeeping:
    kubeconfig: ~/.kube/hub.yaml
  check_mode: true
  register: due

- name: Do it
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
      description: What was due, V(delete), V(pause), V(resume) or V(none).
      returned: always
      type: str
    reason: {description: Why., returned: always, type: str, sample: 'expired at 2026-12-09T09:00:00Z'}
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
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import housekeeping as _housekeeping

OPTIONS = {"tenant": {"type": "str"}}


def main() -> None:
    spec = argument_spec(
        **OPTIONS,
        wait={"type": "bool", "default": True},
        wait_timeout={"type": "int", "default": 300},
    )
    run_module(spec, _housekeeping.run, item_options=OPTIONS, key=None)


if __name__ == "__main__":
    main()
