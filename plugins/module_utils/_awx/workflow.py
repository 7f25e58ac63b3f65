# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The nodes of a workflow, and the order in which they run."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._awx.access import Change
from ansible_collections.tenantry.kube.plugins.module_utils._awx.client import Controller, Object
from ansible_collections.tenantry.kube.plugins.module_utils._awx.existing import Existing
from ansible_collections.tenantry.kube.plugins.module_utils._awx.objects import Desired, Node

NODES = "workflow_job_template_nodes"
SUCCESS = "success_nodes"
# A node may run after another succeeded, after it failed, or in both cases.
RELATIONS = (SUCCESS, "failure_nodes", "always_nodes")
APPROVAL = "workflow_approval"


class Workflow:
    """Reconciles the nodes. One that differs is deleted and created again, because its kind cannot change."""

    def __init__(self, controller: Controller, existing: Existing) -> None:
        self._controller = controller
        self._existing = existing

    def reconcile(self, wanted: Desired, live: Object | None, change: Change) -> None:
        """Pass each write to `change`. `live` is None if a check only predicts the workflow."""
        found = self._controller.list(NODES, workflow_job_template=live["id"]) if live else []
        desired = {node.identifier: node for node in wanted.nodes}
        kept: dict[str, Object] = {}
        for node in found:
            name = node["identifier"]
            if name in desired and self._same(desired[name], node):
                kept[name] = node
            else:
                self._delete(node, change)
        ids = {name: node["id"] for name, node in kept.items()}
        for name, step in desired.items():
            if name not in kept:
                ids[name] = self._create(step, live, change)
        self._link(list(desired), ids, kept, change)

    def _same(self, wanted: Node, live: Object) -> bool:
        if wanted.template is None:
            known = (live.get("summary_fields") or {}).get("unified_job_template") or {}
            return known.get("unified_job_type") == APPROVAL
        template = self._existing.id_of(wanted.template)
        return live["unified_job_template"] == template and (live.get("job_type") or None) == wanted.job_type

    def _delete(self, live: Object, change: Change) -> None:
        path, name = f"{NODES}/{live['id']}", live["identifier"]
        change("remove_node", lambda: self._controller.delete(path), target=name, before={"node": name})

    def _create(self, wanted: Node, workflow: Object | None, change: Change) -> int | None:
        """Create the node and return its id, or None in a check."""
        fields = {"workflow_job_template": workflow and workflow["id"], "identifier": wanted.identifier}
        if wanted.template:
            fields["unified_job_template"] = self._existing.id_of(wanted.template)
        if wanted.job_type:
            fields["job_type"] = wanted.job_type

        def create() -> int:
            number: int = self._controller.create(NODES, fields)["id"]
            if wanted.template is None:
                approval = {"name": wanted.identifier, "description": "", "timeout": 0}
                self._controller.create(f"{NODES}/{number}/create_approval_template", approval)
            return number

        return change("add_node", create, target=wanted.identifier, after={"node": wanted.identifier})

    def _link(self, order: list[str], ids: dict[str, int | None], kept: dict[str, Object], change: Change) -> None:
        """Let each node run after the one before it succeeded, and in no other case."""
        known = [node["id"] for node in kept.values()]
        for name, following in zip(order, [*order[1:], None], strict=True):
            wanted = ids[following] if following else None
            linked = False
            for relation in RELATIONS:
                for number in kept.get(name, {}).get(relation, []):
                    if relation == SUCCESS and number == wanted:
                        linked = True
                    elif number in known:  # the links of a deleted node are gone with it
                        self._post(change, "unlink", name, relation, ids, {"id": number, "disassociate": True})
            if following and not linked:
                self._post(change, "link", name, SUCCESS, ids, {"id": wanted})

    def _post(
        self, change: Change, action: str, name: str, relation: str, ids: dict[str, int | None], body: Object
    ) -> None:
        path = f"{NODES}/{ids[name]}/{relation}"
        state = {"after" if action == "link" else "before": {relation: name}}
        change(action, lambda: self._controller.create(path, body), target=name, **state)
