"""Translate affinity, topology spread and tolerations to the host. Pure.

All namespaces of a virtual cluster share one on the host, so every pod selector there also selects the namespaces. A
null selector selects nothing and an empty one everything, as upstream. For topology spread, upstream's scheduler counts
no pods for an empty selector.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from tenantry_syncer import naming

_TERMS = "requiredDuringSchedulingIgnoredDuringExecution"
_WEIGHTED = "preferredDuringSchedulingIgnoredDuringExecution"
MODES = (_TERMS, _WEIGHTED)
# Passed on unchanged; the rest of TERM and SPREAD becomes part of the label selector.
_TERM = ("topologyKey",)
_SPREAD = ("maxSkew", "minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy", "topologyKey", "whenUnsatisfiable")
TERM = (*_TERM, "labelSelector", "matchLabelKeys", "mismatchLabelKeys", "namespaceSelector", "namespaces")
SPREAD = (*_SPREAD, "labelSelector", "matchLabelKeys")
AFFINITY = ("nodeAffinity", "podAffinity", "podAntiAffinity")
# The operators by which the API server of Kubernetes 1.34 merges these keys into the label selector.
_LABEL_KEYS = {"matchLabelKeys": "In", "mismatchLabelKeys": "NotIn"}
# A digest that no namespace has.
_NO_NAMESPACE = "none"
# Taints for a node's condition. Tolerations of other taints, such as that of a cordoned node, are up to the host.
_TOLERATIONS = tuple(
    f"node.kubernetes.io/{state}"
    for state in ("not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "network-unavailable")
)

Namespaces = Mapping[str, Mapping[str, str]]  # name to labels


def tolerations(spec: dict) -> list[dict]:
    """Return the tolerations that are passed on."""
    return [one for one in spec.get("tolerations") or [] if one.get("key") in _TOLERATIONS]


def affinity(pod: dict, namespaces: Namespaces) -> dict:
    """Return the affinity for the host: terms select only pods of this virtual cluster."""
    spec = pod["spec"]
    given = spec.get("affinity") or {}
    result = {"nodeAffinity": copy.deepcopy(given["nodeAffinity"])} if given.get("nodeAffinity") else {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = given.get(kind) or {}
        found = {}
        if terms.get(_TERMS):
            found[_TERMS] = [_term(one, pod, namespaces) for one in terms[_TERMS]]
        if terms.get(_WEIGHTED):
            found[_WEIGHTED] = [
                {"weight": one["weight"], "podAffinityTerm": _term(one["podAffinityTerm"], pod, namespaces)}
                for one in terms[_WEIGHTED]
            ]
        if found:
            result[kind] = found
    if spec.get("nodeName"):
        _require_node(result, spec["nodeName"])
    return result


def spread(constraint: dict, pod: dict) -> dict:
    """Return a topology spread constraint for the host."""
    result = {key: constraint[key] for key in _SPREAD if key in constraint}
    selector = _selector(constraint, pod)
    if selector:
        selector.setdefault("matchLabels", {})[naming.NAMESPACE_LABEL] = naming.digest(pod["metadata"]["namespace"])
    if selector is not None:
        result["labelSelector"] = selector
    return result


def left_out(spec: dict) -> list[str]:
    """Return the fields of the pod that the syncer does not know."""
    given = spec.get("affinity") or {}
    found = [f"spec.affinity.{name}" for name in given if name not in AFFINITY]
    for kind in AFFINITY[1:]:
        terms = given.get(kind) or {}
        weighted = [one["podAffinityTerm"] for one in terms.get(_WEIGHTED) or []]
        for one in [*(terms.get(_TERMS) or []), *weighted]:
            found += [f"spec.affinity.{kind}: {name}" for name in one if name not in TERM]
    for one in spec.get("topologySpreadConstraints") or []:
        found += [f"spec.topologySpreadConstraints: {name}" for name in one if name not in SPREAD]
    return found


def _term(term: dict, pod: dict, namespaces: Namespaces) -> dict:
    result = {key: term[key] for key in _TERM if key in term}
    selector = _selector(term, pod)
    if selector is not None:
        chosen = sorted(map(naming.digest, _chosen(term, pod["metadata"]["namespace"], namespaces))) or [_NO_NAMESPACE]
        among = {"key": naming.NAMESPACE_LABEL, "operator": "In", "values": chosen}
        selector["matchExpressions"] = [*selector.get("matchExpressions", []), among]
        result["labelSelector"] = selector
    return result


def _chosen(term: dict, own: str, namespaces: Namespaces) -> set[str]:
    """Return the virtual namespaces of a term: the pod's own by default."""
    chosen, by_labels = set(term.get("namespaces") or []), term.get("namespaceSelector")
    if by_labels is not None:
        return chosen | {name for name, labels in namespaces.items() if matches(by_labels, labels)}
    return chosen or {own}


def _selector(holder: dict, pod: dict) -> dict | None:
    """Return the label selector on the host, including matchLabelKeys and mismatchLabelKeys; None selects no pod.

    A recent virtual API server has merged the keys already, and the host's rejects a key in both places. So the keys
    are never passed on; those that are not merged yet are merged here.
    """
    given = holder.get("labelSelector")
    if given is None:
        return None
    labels = pod["metadata"].get("labels") or {}
    expressions = list(given.get("matchExpressions") or [])
    for keys, operator in _LABEL_KEYS.items():
        for key in holder.get(keys) or []:
            merged = {"key": key, "operator": operator, "values": [labels.get(key)]}
            if key in labels and not any(_is_merged(one, merged) for one in expressions):
                expressions.append(merged)
    return naming.host_selector({"matchLabels": given.get("matchLabels"), "matchExpressions": expressions})


def _is_merged(expression: dict, merged: dict) -> bool:
    """Return whether an expression is a merged key, with any value: the pod's labels may have changed since."""
    same = all(expression.get(field) == merged[field] for field in ("key", "operator"))
    return same and len(expression.get("values") or []) == 1


def _require_node(result: dict, node: str) -> None:
    """Require a node by affinity: nodeName itself would bypass the host's scheduler, its taints and capacity checks."""
    required = result.setdefault("nodeAffinity", {}).setdefault(_TERMS, {})
    wanted = {"key": "metadata.name", "operator": "In", "values": [node]}
    for term in required.setdefault("nodeSelectorTerms", [{}]):
        fields = [one for one in term.get("matchFields") or [] if one["key"] != "metadata.name"]
        term["matchFields"] = [*fields, wanted]


def matches(selector: Mapping, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def _holds(expression: Mapping, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[expression["operator"]]
