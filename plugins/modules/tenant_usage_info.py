#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_usage_info
short_description: Gather quotas and use of tenants
version_added: 0.1.0
description:
  - Returns for each tenant its quota, the sum of its virtual clusters' resources, the rest, and the current use of
    pods, volumes and services in them, over the whole fleet.
  - Use is the amount that the ResourceQuota C(vcluster) of each virtual cluster counts. For CPU and memory this is the
    sum of the limits of running pods, not the current consumption of processes.
  - RV(unreachable_members) lists hosts that do not answer. They do not fail the module. Virtual clusters on them count
    with the resources that the hub has on record, and with the use when it was last read if that was more. Their
    current use is missing in RV(tenants[].used).
  - With O(since), it also returns what the tenants requested and used in a period, from the history that
    M(tenantry.kube.usage_report) keeps.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes.info
  - tenantry.kube.attributes.actiongroup
  - tenantry.kube.query
options:
  tenant:
    description: Only this tenant.
    type: str
  history:
    description: The history of M(tenantry.kube.usage_report), a file. Required when O(since) is set, ignored otherwise.
    type: path
  since:
    description:
      - When the period begins. V(7d) is seven days ago, V(2026-11-01) a day and V(2026-11-01T12:00:00Z) a time, in UTC
        if it names no other offset.
      - The whole day or hour counts in which it is, by O(interval).
    type: str
  until:
    description:
      - When the period ends, in the same formats. Defaults to now. Requires O(since).
      - The day or hour in which it is does not count, by O(interval). If omitted, the current one counts so far.
    type: str
  interval:
    description: Length of the rows of RV(tenants[].history). Hours are kept for 21 days.
    type: str
    choices: [day, hour]
    default: day
seealso:
  - module: tenantry.kube.usage_report
  - module: tenantry.kube.tenant_quota
  - module: tenantry.kube.vcluster_info
"""

EXAMPLES = r"""
- name: Gather the use of all tenants
  tenantry.kube.tenant_usage_info:
    kubeconfig: ~/.kube/hub.yaml
  register: usage

- name: Show it as a table
  ansible.builtin.debug:
    msg: "{{ (usage.tenants | tenantry.kube.usage_table).splitlines() }}"

- name: Gather the names of tenants beyond their quota
  tenantry.kube.tenant_usage_info:
    kubeconfig: ~/.kube/hub.yaml
    query: tenants[?exceeded].name
  register: beyond

- name: Gather the core hours of each tenant in November
  tenantry.kube.tenant_usage_info:
    kubeconfig: ~/.kube/hub.yaml
    history: /var/lib/tenantry/usage.sqlite
    since: 2026-11-01
    until: 2026-12-01
    query: "tenants[].{name: name, core_hours: sum(history[].cpu_core_hours.allocated)}"
  register: november
"""

RETURN = r"""
tenants:
  description: The tenants, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the tenant.
      type: str
    display_name:
      description: Its display name.
      type: str
    quota:
      description: Resources that its virtual clusters may use together.
      type: dict
      sample: {cpu: '8', memory: 16Gi, pods: '100', storage: 100Gi, vclusters: '5'}
    paused_frees_quota:
      description: Whether its paused virtual clusters return the resources of their pods to the quota.
      type: bool
    allocated:
      description:
        - The sum of its virtual clusters' resources, and their number. For those in RV(tenants[].unreadable), the
          limits of their ResourceQuota take the place of their resources. Of paused ones, only what they keep is
          counted, see O(tenantry.kube.tenant_quota#module:paused_frees_quota).
      type: dict
      sample: {cpu: '5', memory: 6Gi, pods: '52', storage: 18Gi, vclusters: '2'}
    counted:
      description:
        - The amount that counts against the quota. For each virtual cluster these are its resources or, if they were
          reduced below the use, the use.
      type: dict
      sample: {cpu: '5', memory: 6Gi, pods: '52', storage: 18Gi, vclusters: '2'}
    available:
      description: The rest of the quota for further virtual clusters.
      type: dict
      sample: {cpu: '3', memory: 10Gi, pods: '48', storage: 82Gi, vclusters: '3'}
    used:
      description: The current use in all of its virtual clusters together, control planes included.
      type: dict
      sample: {cpu: 1600m, memory: 1322Mi, pods: '2', storage: 5Gi, vclusters: '2'}
    exceeded:
      description: The resources whose counted amount exceeds the quota, after the quota was lowered below it.
      type: list
      elements: str
    vclusters:
      description:
        - Its virtual clusters, by name, with use and limit of each resource.
        - C(status) is V(Unknown) for those on members that do not answer, with C(used) null, and null for all others.
      type: list
      elements: dict
      sample:
        - name: dev
          host: hub
          status: null
          resources: {cpu: {used: 1600m, hard: '3'}, memory: {used: 1322Mi, hard: 4Gi}}
    unreadable:
      description: For each of its virtual clusters whose record this release cannot read, the reason.
      type: dict
      sample: {}
    history:
      description:
        - What its virtual clusters requested and used in RV(period), a row for each of them and each day or hour of UTC
          of which there are samples. There are two if its resources or its tier changed. Virtual clusters that were
          deleted are included.
        - Days before that of the creation of the tenant are not included, see C(docs/usage-report.md).
      returned: if O(since) is set
      type: list
      elements: dict
      contains:
        time: {description: When the day or hour began., type: str}
        vcluster: {description: Name of the virtual cluster., type: str}
        host: {description: The cluster of the fleet., type: str}
        tier: {description: Its tier., type: str}
        seconds: {description: Time of which there are samples., type: int}
        asleep_seconds: {description: Part of that time in which it was paused., type: int}
        measured_seconds: {description: Part of that time in which the host measured the use., type: int}
        cpu_core_hours:
          description:
            - Amounts multiplied by time. C(promised) are its resources, C(requested) and C(limited) sums over its pods.
            - C(used) is null if nothing was measured. C(allocated) is the larger of request and use.
          type: dict
          sample: {allocated: 12.5, limited: 48.0, promised: 96.0, requested: 12.0, used: 3.25}
        memory_gib_hours: {description: The same of memory., type: dict}
        storage_gib_hours: {description: Provisioned storage multiplied by time., type: float}
        gpu_hours: {description: Requested GPUs multiplied by time., type: float}
        cpu_peak: {description: Highest use of a sample in cores. Null if nothing was measured., type: float}
        memory_peak: {description: The same in bytes., type: int}
period:
  description: The period of RV(tenants[].history).
  returned: if O(since) is set
  type: dict
  contains:
    since: {description: When it begins., type: str, sample: '2026-11-01T00:00:00Z'}
    until: {description: When it ends., type: str, sample: '2026-12-01T00:00:00Z'}
    interval: {description: 'V(day) or V(hour).', type: str}
    coverage:
      description: Which part of it the samples cover, by cluster of the fleet. The rest are gaps, not zeros.
      type: dict
      sample: {hub: 0.9981}
unreachable_members:
  description: For each unreachable member, the reason.
  returned: success
  type: dict
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
  sample: [payments]
"""

from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, run_info_module
from ansible_collections.tenantry.kube.plugins.module_utils._usage import period

OPTIONS: dict[str, dict[str, Any]] = {
    "tenant": {"type": "str"},
    "history": {"type": "path"},
    "since": {"type": "str"},
    "until": {"type": "str"},
    "interval": {"type": "str", "choices": ["day", "hour"], "default": "day"},
}


def main() -> None:
    run_info_module(argument_spec(**OPTIONS), period.run)


if __name__ == "__main__":
    main()
