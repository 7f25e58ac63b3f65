"""Where a pod may run: affinity, spreading and tolerations in the terms of the host. Pure.

All namespaces of a virtual cluster are one on the host, so every selector of pods says there which namespaces it means.
A selector that is not there selects nothing, an empty one everything: upstream's rule, kept on both sides. Where a pod
spreads, upstream's scheduler counts no pod by an empty one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from tenantry_syncer import naming

_TERMS = "requiredDuringSchedulingIgnoredDuringExecution"
_WEIGHTED = "preferredDuringSchedulingIgnoredDuringExecution"
MODES = (_TERMS, _WEIGHTED)
# What passes as it is; the rest of TERM and SPREAD is worked into the label selector.
_TERM = ("topologyKey",)
_SPREAD = ("maxSkew", "minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy", "topologyKey", "whenUnsatisfiable")
TERM = (*_TERM, "labelSelector", "matchLabelKeys", "mismatchLabelKeys", "namespaceSelector", "namespaces")
SPREAD = (*_SPREAD, "labelSelector", "matchLabelKeys")
AFFINITY = ("nodeAffinity", "podAffinity", "podAntiAffinity")
# By their operators in a label selector, as the API server of Kubernetes 1.34 merges them.
_LABEL_KEYS = {"matchLabelKeys": "In", "mismatchLabelKeys": "NotIn"}
# A label value that no namespace has.
_NO_NAMESPACE = "none"
# Taints that say how a node is. What else it may be tainted for, being cordoned too, is the host's own.
_TOLERATIONS = tuple(
    f"node.kubernetes.io/{state}"
    for state in ("not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "network-unavailable")
)

Namespaces = Mapping[str, Mapping[str, str]]  # name to labels


def tolerations(spec: dict) -> list[dict]:
    return [one for one in spec.get("tolerations") or [] if one.get("key") in _TOLERATIONS]


def affinity(pod: dict, namespaces: Namespaces) -> dict:
    spec = pod["spec"]
    given = spec.get("affinity") or {}
    made = {"nodeAffinity": copy.deepcopy(given["nodeAffinity"])} if given.get("nodeAffinity") else {}
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
            made[kind] = found
    if spec.get("nodeName"):
        _require_node(made, spec["nodeName"])
    return made


def spread(constraint: dict, pod: dict) -> dict:
    made = {key: constraint[key] for key in _SPREAD if key in constraint}
    selector = _selector(constraint, pod)
    if selector:
        selector.setdefault("matchLabels", {})[naming.NAMESPACE_LABEL] = naming.digest(pod["metadata"]["namespace"])
    if selector is not None:
        made["labelSelector"] = selector
    return made


def left_out(spec: dict) -> list[str]:
    """Fields that the pod asks for and this program does not know."""
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
    made = {key: term[key] for key in _TERM if key in term}
    selector = _selector(term, pod)
    if selector is not None:
        chosen = sorted(map(naming.digest, _chosen(term, pod["metadata"]["namespace"], namespaces))) or [_NO_NAMESPACE]
        among = {"key": naming.NAMESPACE_LABEL, "operator": "In", "values": chosen}
        selector["matchExpressions"] = [*selector.get("matchExpressions", []), among]
        made["labelSelector"] = selector
    return made


def _chosen(term: dict, own: str, namespaces: Namespaces) -> set[str]:
    """The namespaces inside whose pods a term is about: its own where it says nothing."""
    chosen, by_labels = set(term.get("namespaces") or []), term.get("namespaceSelector")
    if by_labels is not None:
        return chosen | {name for name, labels in namespaces.items() if matches(by_labels, labels)}
    return chosen or {own}


def _selector(holder: dict, pod: dict) -> dict | None:
    """The label selector on the host's labels, with the label keys that go with it; None selects no pod at all.

    The API server inside has merged the keys already, if it is new enough, and the host's would refuse a key that is in
    both places. So the keys themselves are never passed on, and those that nobody has merged are merged here.
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
    """Whatever its value: it is of the labels that the pod had when it was made."""
    same = all(expression.get(field) == merged[field] for field in ("key", "operator"))
    return same and len(expression.get("values") or []) == 1


def _require_node(made: dict, node: str) -> None:
    """By the host's scheduler, not past it: whoever names a node himself is asked neither for taints nor for room."""
    required = made.setdefault("nodeAffinity", {}).setdefault(_TERMS, {})
    wanted = {"key": "metadata.name", "operator": "In", "values": [node]}
    for term in required.setdefault("nodeSelectorTerms", [{}]):
        fields = [one for one in term.get("matchFields") or [] if one["key"] != "metadata.name"]
        term["matchFields"] = [*fields, wanted]


def matches(selector: Mapping, labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses these labels."""
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
