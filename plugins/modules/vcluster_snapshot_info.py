#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_snapshot_info
short_description: Gather snapshots of virtual clusters
version_added: 0.1.0
description:
  - Lists the snapshots in a directory or in a bucket. It contacts no cluster and needs no passphrase, so it returns the
    claims of their descriptions. A restore verifies them.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.snapshot_store
  - tenantry.kube.attributes.info
  - tenantry.kube.query
options:
  tenant:
    description: Only those of this tenant.
    type: str
  name:
    description: Only those of virtual clusters of this name.
    type: str
seealso:
  - module: tenantry.kube.vcluster_snapshot
"""

EXAMPLES = r"""
- name: Gather all snapshots
  tenantry.kube.vcluster_snapshot_info:
    directory: /var/backups/tenantry
  register: found

- name: Gather the name of the newest snapshot of payments' dev
  tenantry.kube.vcluster_snapshot_info:
    directory: /var/backups/tenantry
    tenant: payments
    name: dev
    query: snapshots[-1].snapshot
  register: newest

- name: Show when each was taken
  ansible.builtin.debug:
    msg: "{{ found.snapshots | map(attribute='created') }}"
"""

RETURN = r"""
snapshots:
  description: The snapshots, by virtual cluster and time, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    snapshot: {description: Its name., type: str}
    tenant: {description: Tenant of its virtual cluster., type: str}
    name: {description: Name of that virtual cluster., type: str}
    host: {description: The cluster of the fleet on which that was., type: str}
    mode: {description: Its mode., type: str}
    version: {description: Its release of k3s., type: str}
    service_cidr: {description: Network of its services., type: str}
    created: {description: When the snapshot was taken., type: str}
    sequence: {description: Number that grows with each snapshot of a virtual cluster., type: int}
    revision: {description: Revision of the datastore., type: int}
    database_bytes: {description: Size of the datastore., type: int}
    datastore: {description: 'Type of the datastore, V(sqlite) or V(etcd).', type: str}
    path: {description: File or URL of the archive., type: str}
    bytes: {description: Size of that file., type: int}
    sha256: {description: Checksum of that file., type: str}
unreadable:
  description:
    - Files that are no snapshots, or are damaged. They hide no snapshots. The module warns of each.
    - Where not all folders of virtual clusters can be listed, a row names the directory or the bucket. The snapshots of
      the others are in RV(snapshots).
    - Only a restore finds damage inside an archive of the right size.
  returned: success
  type: list
  elements: dict
  contains:
    tenant:
        description: Tenant of the virtual cluster whose folder it is in. Of the directory or the bucket, the option.
        type: str
    name:
        description: Name of that virtual cluster. Of the directory or the bucket, the option.
        type: str
    file: {description: Name of the file. The folder where that cannot be read., type: str}
    reason: {description: What is wrong with it., type: str}
  sample:
    - {tenant: payments, name: dev, file: 20260131T020000Z.json, reason: is not the description of a snapshot}
query_result:
  description: The part of the other return values that O(query) selects.
  returned: if O(query) is set
  type: raw
  sample: 20260131T020000Z
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import run_info_module
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import info
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.options import StoreOptions
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import STORE


def main() -> None:
    run_info_module(
        {**STORE, "tenant": {"type": "str"}, "name": {"type": "str"}},
        lambda context, given: info.run(context, StoreOptions.of(given).store(), given["tenant"], given["name"]),
    )


if __name__ == "__main__":
    main()
