#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: usage_report
short_description: Report the use and the cost of tenants over time
version_added: 0.1.0
description:
  - Takes a sample of the whole fleet. For each virtual cluster this is what it was promised, what its pods request and
    what they use, by the metrics API of its host. It changes nothing in any cluster.
  - Adds the sample to a history, and writes a page, JSON, CSV and metrics from it.
  - A sample counts for the time since the one before, so run the module every 5 to 60 minutes. After a longer time than
    90 minutes it counts for 5 minutes, and the rest is a gap.
  - RV(missing_clusters) lists clusters of the fleet that do not answer, and RV(unmeasured_clusters) those that report
    no use. They do not fail the module. Both are gaps, not zeros.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
  - tenantry.kube.query
attributes:
  diff_mode:
    support: none
    details: The files are long.
  idempotent:
    support: none
    details: Each run adds a sample, and the files have its time. Without files and history, nothing changes.
options:
  history:
    description:
      - File with the history, a SQLite database, in a directory that exists. It is created with mode V(0600).
      - Several runs may use it at the same time, and it may be on a network file system with working locks.
      - Without it, the report is about this moment and has no costs.
    type: path
  retention:
    description: >-
      How long the history keeps days, V(93d) or more, because a report shows the month before and 90 days. Hours are
      kept for 21 days.
    type: str
    default: 1100d
  prices:
    description:
      - Prices, by which the allocation of virtual clusters and the idle capacity have a cost. All days of the history
        are charged at the prices of this run.
      - Each price but C(control_plane_hour) may also be set for a tier in C(tiers), and for a tier on a cluster in
        C(clusters.NAME.tiers). Each price may be set for a cluster of the fleet in C(clusters). The most specific one
        counts.
    type: dict
    suboptions:
      currency: {description: Code of the currency in ISO 4217., type: str, default: EUR}
      cpu_hour: {description: Price of a core for an hour., type: str}
      memory_gib_hour: {description: Price of a GiB of memory for an hour., type: str}
      storage_gib_month: {description: Price of a provisioned GiB of storage for a month of 730 hours., type: str}
      gpu_hour: {description: Price of a GPU for an hour., type: str}
      control_plane_hour:
        description: Fee of a cluster of the fleet for an hour, which its virtual clusters share.
        type: str
      tiers: {description: 'Prices by tier, V(dev) or V(prod).', type: dict}
      clusters:
        description:
          - Prices by cluster of the fleet, V(hub) or the name of a member.
          - There is a warning for one that neither the fleet nor the history knows.
        type: dict
  page:
    description: File for the page, one self-contained HTML file.
    type: path
  tenant_pages:
    description:
      - Directory for a page of each tenant, C(TENANT.html), with nothing of others in it.
      - Pages that the module wrote for tenants that are gone are deleted, unless O(tenant) is set. Other files are not.
    type: path
  json:
    description: File for the report as JSON. C(docs/usage-report.schema.json) of the collection describes it.
    type: path
  csv:
    description: File for the charges of this month and the one before, by day, as CSV with the columns of FOCUS 1.2.
    type: path
  metrics:
    description: File for metrics in Prometheus' text format, for the textfile collector of its node exporter.
    type: path
  patch:
    description:
      - File for a patch of the inventory that right-sizes the resources of virtual clusters and the quotas of tenants.
        It has what RV(sizing) proposes. Apply it with C(patch -p1), or with C(git apply).
      - It is a unified diff, and empty if there is nothing to change. It changes amounts only.
      - Its mode is always V(0600), because lines of the inventory beside a change are in it, which may hold secrets.
      - Needs O(history) and O(inventory).
    type: path
  inventory:
    description:
      - Directory or file of the inventory that O(patch) is for. It is only read.
      - The list C(tenantry_tenants) must be in one of its YAML files, or in C(group_vars) or C(host_vars) beside them.
    type: path
  mode:
    description: Mode of these files except O(history) and O(patch), as four octal digits in quotes, such as V('0640').
    type: str
    default: '0600'
  tenant:
    description: Only this tenant in the files and in the result. The history has all of them in any case.
    type: str
seealso:
  - module: tenantry.kube.tenant_usage_info
  - module: tenantry.kube.vcluster_info
"""

EXAMPLES = r"""
- name: Write the page of the fleet, with costs
  tenantry.kube.usage_report:
    kubeconfig: ~/.kube/hub.yaml
    history: /var/lib/tenantry/usage.sqlite
    page: /var/www/tenantry/index.html
    mode: '0640'
    prices:
      currency: EUR
      cpu_hour: 0.031
      memory_gib_hour: 0.0042
      storage_gib_month: 0.10
      tiers: {prod: {cpu_hour: 0.04}}

- name: Write a patch that right-sizes the inventory
  tenantry.kube.usage_report:
    kubeconfig: ~/.kube/hub.yaml
    history: /var/lib/tenantry/usage.sqlite
    inventory: /srv/inventory
    patch: /srv/sizing.patch

- name: Warn of what is critical
  tenantry.kube.usage_report:
    kubeconfig: ~/.kube/hub.yaml
    query: attention[?level=='critical'].[about, text]
  register: urgent
"""

RETURN = r"""
time: {description: When the sample was taken., returned: success, type: str, sample: '2026-11-30T09:00:00Z'}
files:
  description: The files that were written or deleted, or would be in check mode.
  returned: success
  type: list
  elements: str
counted_seconds:
  description: For how many seconds the sample counts in the history, by cluster of the fleet.
  returned: success
  type: dict
  sample: {hub: 300, edge: 300}
currency: {description: The currency. Null without prices., returned: success, type: str, sample: EUR}
month: {description: The month of the costs., returned: success, type: str, sample: '2026-11'}
coverage:
  description: Which part of this month so far the history covers, by cluster of the fleet.
  returned: success
  type: dict
  sample: {hub: 0.9981}
cost:
  description:
    - Costs of this month so far, as text. C(tenants) and C(idle) add up to C(month_to_date).
    - Null with O(tenant).
  returned: success
  type: dict
  sample: {forecast: '1774.75', idle: '755.04', month_to_date: '1732.58', tenants: '977.54'}
attention:
  description: What needs attention, the most urgent first.
  returned: success
  type: list
  elements: dict
  contains:
    level: {description: 'V(critical), V(warning) or V(note).', type: str}
    tenant: {description: The tenant. Empty for the fleet., type: str}
    about: {description: 'A cluster of the fleet, a tenant or a virtual cluster.', type: str}
    text: {description: What is wrong with it., type: str}
    remedy: {description: What to do., type: str}
sizing:
  description:
    - Proposals for resources and quotas that do not fit the last two weeks.
    - Empty without O(history), and for what has less than a week of history.
  returned: success
  type: list
  elements: dict
  contains:
    tenant: {description: The tenant., type: str}
    vcluster: {description: The virtual cluster. Null for the quota of the tenant., type: str}
    resource: {description: 'V(cpu), V(memory) or V(storage).', type: str}
    current: {description: The amount now., type: str}
    proposed: {description: The amount to set., type: str}
    reason: {description: What the proposal comes from., type: str}
    left_out: {description: Why O(patch) does not have it. Null if it does., type: str}
  sample:
    - tenant: payments
      vcluster: dev
      resource: cpu
      current: '6'
      proposed: 3750m
      reason: limits of up to 3, 95th percentile of the use 500m
      left_out: null
missing_clusters:
  description: For each cluster of the fleet that does not answer, the reason.
  returned: success
  type: dict
unmeasured_clusters:
  description: For each cluster of the fleet that reports no use, the reason.
  returned: success
  type: dict
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
"""

from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, run_info_module
from ansible_collections.tenantry.kube.plugins.module_utils._usage import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import OPTIONS as PRICES

OPTIONS: dict[str, dict[str, Any]] = {
    "history": {"type": "path"},
    "retention": {"type": "str", "default": "1100d"},
    "prices": {
        "type": "dict",
        "options": {
            "currency": {"type": "str", "default": "EUR"},
            **{price: {"type": "str"} for price in PRICES},
            "tiers": {"type": "dict"},
            "clusters": {"type": "dict"},
        },
    },
    "page": {"type": "path"},
    "tenant_pages": {"type": "path"},
    "json": {"type": "path"},
    "csv": {"type": "path"},
    "metrics": {"type": "path"},
    "patch": {"type": "path"},
    "inventory": {"type": "path"},
    "mode": {"type": "str", "default": "0600"},
    "tenant": {"type": "str"},
}


def main() -> None:
    run_info_module(argument_spec(**OPTIONS), reconcile.run)


if __name__ == "__main__":
    main()
