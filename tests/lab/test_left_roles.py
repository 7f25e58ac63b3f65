"""More rights for a component of a virtual cluster, beside those that the API server gives it by default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._users import findings_rbac

from .harness import ran

RBAC = "rbac.authorization.k8s.io"
# What lets an account do more, whichever it is: by group and resource, with the verbs.
WAYS = {
    **{("", resource): "create update patch" for resource in ("secrets", "*", "*/token", "*/exec")},
    **{(RBAC, kind): "bind escalate" for kind in ("clusterroles", "roles")},
    ("", "secrets"): "create update patch list watch",
    ("", "serviceaccounts/token"): "create",
    ("", "pods/exec"): "create",
    ("", "nodes/proxy"): "get create",
    ("*", "*"): "list create",
    ("apps", "*"): "create",
    ("authentication.k8s.io", "users"): "impersonate impersonate:user-info",
    ("kustomize.toolkit.fluxcd.io", "kustomizations"): "create",
}

# What gives no more than the role has already, and why.
EQUAL = {
    "system:controller:clusterrole-aggregation-controller: escalate roles": "it may escalate ClusterRoles",
    "system:controller:storage-version-migrator-controller: update *": "it may patch everything",
    **{f"system:node: {verb} */token": "it may make tokens" for verb in ("create", "update", "patch")},
}


def _has(rules: list[dict[str, Any]], **asked: str) -> bool:
    """Whether the role allows it without more."""
    return any(
        all({one, "*"}.intersection(rule.get(key) or []) for key, one in asked.items())
        and not rule.get("resourceNames")
        for rule in rules
    )


def test_more_for_any_component_is_a_finding(dev: Path) -> None:
    """Of all roles that are bound without anybody's doing. The positive control: as they are, none is one."""
    bindings = json.loads(ran(dev, "get", "clusterrolebindings", "-o", "json"))["items"]
    roles = json.loads(ran(dev, "get", "clusterroles", "-o", "json"))["items"]
    bound = {one["roleRef"]["name"] for one in bindings} - {"cluster-admin", "system:kube-controller-manager"}
    found = {one["metadata"]["name"]: one for one in roles if one["metadata"]["name"] in bound}
    assert len(found) > 40
    assert not [name for name, role in found.items() if findings_rbac.role(role)]
    ours = {one["metadata"]["name"] for one in bindings if findings_rbac.binding(one, {})}
    assert not {name for name in ours if name.startswith("system:")}
    missed, asked = [], 0
    for name, role in found.items():
        for (group, resource), verbs in WAYS.items():
            for verb in verbs.split():
                if _has(role["rules"], verbs=verb, apiGroups=group, resources=resource):
                    continue
                more = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                asked += 1
                if findings_rbac.role({**role, "rules": [*role["rules"], more]}) is None:
                    missed.append(f"{name}: {verb} {resource}")
    print(f"{len(found)} roles, {asked} ways")
    assert {*missed} == {*EQUAL}
