#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_snapshot
short_description: Take, restore and delete snapshots of virtual clusters
version_added: 0.1.0
description:
  - Takes a snapshot of all that a virtual cluster is, its datastore, its certificate authorities, its tokens and its
    encryption keys, into a directory on the machine that runs the module, encrypted. What pods have on volumes is not
    in it.
  - The datastore is taken as it is at one moment, under load too. The API of one server stands still for that moment,
    see RV(results[].frozen), that of three does not.
  - Puts a snapshot back, into the virtual cluster it is of or into another one, on any host of the fleet and of any
    mode. Kubeconfigs that were valid when the snapshot was taken are valid again.
  - The archive is in the format of C(age), its encryption key is in the description beside it, encrypted with
    O(passphrase).
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.snapshot_store
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.actiongroup
requirements:
  - pyrage >= 1.3.0
  - cryptography
attributes:
  check_mode:
    details: The check of O(state=restored) reads and verifies the whole snapshot.
  diff_mode:
    support: partial
    details: Says which snapshots are made, restored or deleted, not what is in them.
  idempotent:
    support: partial
    details:
      - O(state=present) without O(snapshot) takes a new snapshot every time, and O(state=restored) restores every time.
options:
  tenant:
    description: The tenant of the virtual cluster. Required unless O(vclusters) is given.
    type: str
  name:
    description: The name of the virtual cluster. Required unless O(vclusters) is given.
    type: str
  state: &state
    description:
      - V(present) takes a snapshot, unless there is one of the name O(snapshot).
      - V(restored) stops the server, replaces its data and starts it. What changed after the snapshot is lost. The
        whole snapshot is verified before the server is stopped.
      - V(reverted) undoes the last change of its release of k3s, by the copy that M(tenantry.kube.vcluster) kept on its
        volume before that. What changed since is lost.
      - V(absent) deletes the snapshot O(snapshot), V(pruned) all but the newest O(keep). Neither asks any cluster.
    type: str
    choices: [present, restored, reverted, absent, pruned]
    default: present
  snapshot: &snapshot
    description:
      - Name of the snapshot. The time in UTC, such as V(20260131T020000Z), if not set with O(state=present).
      - V(latest), which is the default with O(state=restored), is the newest one.
    type: str
  source: &source
    description:
      - With O(state=restored), the virtual cluster whose snapshot it is, if that is another one.
      - Then the virtual cluster that is restored into keeps its place, its release of k3s and its options, and becomes
        a copy of the other inside. The credentials of one are valid for both.
    type: dict
    suboptions:
      tenant: {description: Its tenant., type: str, required: true}
      name: {description: Its name., type: str, required: true}
  keep: &keep
    description: With O(state=pruned), how many of the newest snapshots of this virtual cluster to keep.
    type: int
  passphrase:
    description:
      - What snapshots are encrypted with, 12 characters or more. Required for O(state=present) and O(state=restored).
      - A snapshot whose passphrase is lost is lost.
    type: str
  vclusters:
    description: Many virtual clusters in one call, each with the options above, at the same time.
    type: list
    elements: dict
    suboptions:
      tenant: {description: The tenant of the virtual cluster., type: str, required: true}
      name: {description: The name of the virtual cluster., type: str, required: true}
      state: *state
      snapshot: *snapshot
      source: *source
      keep: *keep
  wait_timeout:
    description: Seconds that each may take.
    type: int
    default: 300
seealso:
  - module: tenantry.kube.vcluster
  - module: tenantry.kube.vcluster_snapshot_info
"""

EXAMPLES = r"""
- name: Take a snapshot
  tenantry.kube.vcluster_snapshot:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev
    directory: /var/backups/tenantry
    passphrase: "{{ vault_snapshot_passphrase }}"

- name: Keep the newest seven
  tenantry.kube.vcluster_snapshot:
    tenant: payments
    name: dev
    state: pruned
    keep: 7
    directory: /var/backups/tenantry

- name: Take a snapshot into a bucket
  tenantry.kube.vcluster_snapshot:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev
    bucket: {name: backups, prefix: tenantry, endpoint: https://s3.example.com}
    passphrase: "{{ vault_snapshot_passphrase }}"

- name: Go back to the newest snapshot
  tenantry.kube.vcluster_snapshot:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev
    state: restored
    directory: /var/backups/tenantry
    passphrase: "{{ vault_snapshot_passphrase }}"

- name: Move a virtual cluster to another host of the fleet, first of two tasks
  tenantry.kube.vcluster:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev2
    host: edge
    version: v1.34.4+k3s1
    slice: {cpu: 4, memory: 8Gi, storage: 20Gi, pods: 50}

- name: Move a virtual cluster to another host of the fleet, second of two tasks
  tenantry.kube.vcluster_snapshot:
    kubeconfig: ~/.kube/hub.yaml
    tenant: payments
    name: dev2
    state: restored
    source: {tenant: payments, name: dev}
    directory: /var/backups/tenantry
    passphrase: "{{ vault_snapshot_passphrase }}"
"""

RETURN = r"""
results:
  description: One row for each virtual cluster. For a single one, its fields are at the top level too.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Name of the virtual cluster., returned: always, type: str}
    tenant: {description: Its tenant., returned: always, type: str}
    host: {description: The cluster of the fleet it is on., returned: O(state=present) or O(state=restored), type: str}
    namespace: {description: Its namespace there., returned: always, type: str}
    snapshot: {description: Name of the snapshot., returned: O(state=present) or O(state=restored), type: str}
    path: {description: File or URL of its archive., returned: O(state=present) or O(state=restored), type: str}
    bytes: {description: Size of that file., returned: O(state=present) or O(state=restored), type: int}
    sha256: {description: Checksum of that file., returned: O(state=present) or O(state=restored), type: str}
    created: {description: When it was taken., returned: O(state=present) or O(state=restored), type: str}
    version:
      description: Release of k3s, with O(state=restored) the one that runs now.
      returned: O(state=present) or O(state=restored)
      type: str
    frozen:
      description: Seconds for which the API stood still while its data was copied.
      returned: when a snapshot was taken
      type: float
      sample: 0.05
    verified:
      description: By kind, how many objects of the snapshot the API was found to serve after the restore, which is all.
      returned: O(state=restored)
      type: dict
      sample: {ConfigMap: 12, Namespace: 5, Secret: 7}
    seconds: {description: What it took., returned: always, type: float}
    changed: {description: Whether anything was changed., returned: always, type: bool}
    actions:
      description: What was done, or would be in check mode.
      returned: always
      type: list
      elements: dict
    error: {description: Why this one could not be done. The others were., returned: failure, type: str}
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, items_option
from ansible_collections.tenantry.kube.plugins.module_utils._module import main as run_module
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.reconcile import run
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import STORE

PLACE = {"tenant": {"type": "str", "required": True}, "name": {"type": "str", "required": True}}
OPTIONS = {
    **PLACE,
    "state": {"type": "str", "choices": ["present", "restored", "reverted", "absent", "pruned"], "default": "present"},
    "snapshot": {"type": "str"},
    "source": {"type": "dict", "options": PLACE},
    "keep": {"type": "int"},
}


def main() -> None:
    spec = argument_spec(
        **OPTIONS,
        **STORE,
        passphrase={"type": "str", "no_log": True},
        vclusters=items_option(OPTIONS),
        wait_timeout={"type": "int", "default": 300},
    )
    run_module(
        spec,
        run,
        list_option="vclusters",
        item_options=OPTIONS,
        key=("tenant", "name"),
        libraries=("pyrage", "cryptography"),
    )


if __name__ == "__main__":
    main()
