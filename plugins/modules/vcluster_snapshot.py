#!/usr/bin/python
# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vcluster_snapshot
short_description: Take, restore and delete snapshots of virtual clusters
version_added: 0.1.0
description:
  - Takes an encrypted snapshot of a virtual cluster with its datastore, certificate authorities, tokens and
    encryption keys. Stores it in a directory on the machine that runs the module, or in a bucket. Volumes of pods are
    not included.
  - The copy of the datastore is consistent, under load too. The API of one server pauses for the copy, see
    RV(results[].api_paused_seconds). That of three servers does not.
  - Restores a snapshot into its own virtual cluster or into another one, on any host of the fleet and of any mode.
    Kubeconfigs that were valid at the time of the snapshot are valid again.
  - The archive has the format of C(age). The description beside it has its encryption key, encrypted with
    O(passphrase). The same key authenticates the description.
author:
  - The tenantry.kube authors (@tenantry)
extends_documentation_fragment:
  - tenantry.kube.snapshot_store
  - tenantry.kube.kubeconfig
  - tenantry.kube.attributes
  - tenantry.kube.attributes.async
  - tenantry.kube.attributes.actiongroup
requirements:
  - pyrage >= 1.3.0
  - cryptography
attributes:
  check_mode:
    details: The check of O(state=restored) reads and verifies the whole snapshot.
  diff_mode:
    support: partial
    details: Shows which snapshots are created, restored or deleted, not their content.
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
      - V(restored) stops the server, replaces its data and starts it. Changes after the snapshot are lost. The module
        verifies the whole snapshot before it stops the server.
      - V(rolled_back) undoes the last change of its k3s release, with the copy that M(tenantry.kube.vcluster) kept on
        its volume. Changes since then are lost.
      - V(absent) deletes the snapshot O(snapshot), V(pruned) all but the newest O(keep). Neither contacts any cluster.
        V(pruned) neither counts nor deletes damaged files and files that are no snapshots.
    type: str
    choices: [present, restored, rolled_back, absent, pruned]
    default: present
  snapshot: &snapshot
    description:
      - Name of the snapshot. The time in UTC, such as V(20260131T020000Z), if not set with O(state=present).
      - V(latest), which is the default with O(state=restored), is the newest one. The module rejects it if the host's
        record of the virtual cluster names a newer snapshot than the store has, or if an unreadable file may be a newer
        one. To restore the newest readable one anyway, set its name.
    type: str
  source: &source
    description:
      - With O(state=restored), the virtual cluster of the snapshot, if that is another one. The module rejects a
        snapshot of any other.
      - The target keeps its host, k3s release and options, and its content becomes a copy of the source. The
        credentials of one are valid for both.
    type: dict
    suboptions:
      tenant: {description: Its tenant., type: str, required: true}
      name: {description: Its name., type: str, required: true}
  keep: &keep
    description:
      - Number of the newest snapshots of this virtual cluster to keep, 1 or more.
      - Required when O(state=pruned). Other states reject it.
    type: int
  passphrase:
    description:
      - Passphrase that encrypts snapshots, 12 characters or more. Required for O(state=present) and O(state=restored).
      - Without the passphrase, a snapshot is lost.
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

- name: Restore the newest snapshot
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
    version: v1.37.2+k3s1
    resources: {cpu: 4, memory: 8Gi, storage: 20Gi, pods: 50}

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
    api_paused_seconds:
      description: Seconds for which the API paused while the module copied its data.
      returned: when a snapshot was taken
      type: float
      sample: 0.05
    verified:
      description: Number of objects of the snapshot that the API serves after the restore, by kind. These are all.
      returned: O(state=restored)
      type: dict
      sample: {ConfigMap: 12, Namespace: 5, Secret: 7}
    unreadable:
      description: Files in its folder that are no snapshots, or are damaged. The module leaves them alone.
      returned: O(state=pruned) or O(snapshot=latest), where there are any
      type: list
      elements: dict
      sample: [{file: 20260131T020000Z.json, reason: 'is not the description of a snapshot: no JSON; move it away'}]
    seconds: {description: Duration in seconds., returned: always, type: float}
    changed: {description: Whether anything was changed., returned: always, type: bool}
    actions:
      description: What was done, or would be in check mode.
      returned: always
      type: list
      elements: dict
    error:
      description: Why it failed. The others were processed, unless O(vclusters) has invalid items.
      returned: failure
      type: str
    not_done:
      description: Why it was not processed although the item is valid. Other items are invalid.
      returned: failure
      type: str
"""

from ansible_collections.tenantry.kube.plugins.module_utils._module import argument_spec, items_option
from ansible_collections.tenantry.kube.plugins.module_utils._module import main as run_module
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.options import SnapshotOptions
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.reconcile import run
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.options import STORE

PLACE = {"tenant": {"type": "str", "required": True}, "name": {"type": "str", "required": True}}
OPTIONS: dict[str, dict] = {
    **PLACE,
    "state": {
        "type": "str",
        "choices": ["present", "restored", "rolled_back", "absent", "pruned"],
        "default": "present",
    },
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
        options=SnapshotOptions.of,
        list_option="vclusters",
        item_options=OPTIONS,
        key=("tenant", "name"),
        libraries=("pyrage", "cryptography"),
    )


if __name__ == "__main__":
    main()
