"""Scheduling: selectors select the same pods on the host as in the virtual cluster."""

from __future__ import annotations

import itertools

import pytest
from tenantry_syncer import naming
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import pod_scheduling

from ..objects import POD_CONTEXT, pod


def made(spec: dict | None = None, context: pod_spec.PodContext = POD_CONTEXT, **metadata: object) -> dict:
    return pod_spec.host_pod(pod(spec, **metadata), context)["spec"]


@pytest.mark.parametrize(
    ("toleration", "passes"),
    [
        ({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 3}, True),
        ({"key": "node.kubernetes.io/disk-pressure", "operator": "Exists"}, True),
        ({"operator": "Exists"}, False),
        ({"key": "", "operator": "Exists"}, False),
        ({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}, False),
        ({"key": "node.kubernetes.io/out-of-service", "operator": "Exists"}, False),
        ({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}, False),
        ({"key": "team", "value": "research"}, False),
    ],
)
def test_tolerations(toleration, passes):
    assert made({"tolerations": [toleration]})["tolerations"] == ([toleration] if passes else [])


def test_affinity_node_name_is_required_by_affinity():
    other = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}
    for affinity in ({}, {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": other}}):
        spec = made({"nodeName": "a", "affinity": affinity})
        required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        wanted = [{"key": "metadata.name", "operator": "In", "values": ["a"]}]
        assert [one["matchFields"] for one in required["nodeSelectorTerms"]] == [wanted]
        assert "nodeName" not in spec


@pytest.mark.parametrize(
    ("term", "spaces"),
    [
        ({}, ["shop"]),
        ({"namespaces": ["bank", "elsewhere"]}, ["bank", "elsewhere"]),
        ({"namespaceSelector": {}}, ["bank", "shop"]),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, ["bank"]),
        ({"namespaceSelector": {"matchLabels": {"team": "none"}}}, None),
    ],
)
@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
def test_affinity_term_selects_virtual_namespaces(kind, term, spaces):
    whole = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}, **term}
    affinity = {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [whole]}}
    found = made({"affinity": affinity})["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert set(found) == {"topologyKey", "labelSelector"}
    assert found["labelSelector"]["matchLabels"] == {"x.tenantry.dev/app": "web"}
    (among,) = found["labelSelector"]["matchExpressions"]
    values = ["none"] if spaces is None else sorted(map(naming.digest, spaces))
    assert among == {"key": naming.NAMESPACE_LABEL, "operator": "In", "values": values}


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_matches(selector, chosen):
    assert pod_scheduling.matches(selector, {"a": "1"}) is chosen


# Every field of a pod that selects pods by labels. Each takes a selector with its companions and returns it.
def _affinity(kind: str, mode: str) -> tuple:
    def put(term: dict) -> dict:
        whole = {"topologyKey": "host", **term}
        return {
            "affinity": {kind: {mode: [whole if mode.startswith("req") else {"weight": 1, "podAffinityTerm": whole}]}}
        }

    def got(spec: dict) -> dict:
        (found,) = spec["affinity"][kind][mode]
        return found.get("podAffinityTerm", found)

    return put, got


def _spread() -> tuple:
    def put(term: dict) -> dict:
        return {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "host", **term}]}

    return put, lambda spec: spec["topologySpreadConstraints"][0]


MODES = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution")
PLACES = {
    **{f"{kind} {mode[:9]}": _affinity(kind, mode) for kind in ("podAffinity", "podAntiAffinity") for mode in MODES},
    "spread": _spread(),
}
SELECTORS = {
    "absent": {},
    "null": {"labelSelector": None},
    "empty": {"labelSelector": {}},
    "filled": {"labelSelector": {"matchLabels": {"app": "web"}}},
    "expressions": {"labelSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}},
    "exists": {"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}},
}
# Affinity only: namespaces.
SPACES = {
    "absent": {},
    "null": {"namespaceSelector": None, "namespaces": None},
    "empty": {"namespaceSelector": {}},
    "no names": {"namespaces": []},
    "filled": {"namespaceSelector": {"matchLabels": {"team": "b"}}},
    "none of them": {"namespaceSelector": {"matchLabels": {"team": "c"}}},
    "named": {"namespaces": ["bank"]},
    "both": {"namespaces": ["bank"], "namespaceSelector": {"matchLabels": {"team": "a"}}},
}
KEYS = {
    "no keys": {},
    "match": {"matchLabelKeys": ["version"]},
    "mismatch": {"mismatchLabelKeys": ["version"]},
    "a label that the pod has not": {"matchLabelKeys": ["absent"]},
}
LABELS = [
    {**app, **tier, **version}
    for app, tier, version in itertools.product(
        ({}, {"app": "web"}, {"app": "db"}), ({}, {"tier": "front"}), ({}, {"version": "1"}, {"version": "2"})
    )
]


def chosen(term: dict, own: str, spread: bool) -> set[tuple[str, int]]:
    """Return the pods that a scheduler would select, as positions in LABELS by namespace."""
    spaces = {own}
    if not spread and (term.get("namespaces") or term.get("namespaceSelector") is not None):
        by_labels = term.get("namespaceSelector")
        among = {} if by_labels is None else POD_CONTEXT.namespaces
        spaces = set(term.get("namespaces") or [])
        spaces |= {name for name, labels in among.items() if pod_scheduling.matches(by_labels, labels)}
    selector = term.get("labelSelector")
    if chooses_none(selector, spread):
        return set()
    return {
        (namespace_object, at)
        for namespace_object in spaces
        for at, labels in enumerate(LABELS)
        if pod_scheduling.matches(selector, labels)
    }


def chooses_none(selector: dict | None, spread: bool) -> bool:
    """For topology spread, Kubernetes' scheduler counts no pods for an empty selector (test_syncer_selectors.py)."""
    return selector is None or (spread and not any(selector.values()))


def merged(term: dict, labels: dict) -> dict:
    """Merge label keys as the API server of Kubernetes 1.34 does on creation."""
    selector = term.get("labelSelector")
    if selector is None:
        return term
    expressions = list(selector.get("matchExpressions") or [])
    for keys, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        expressions += [
            {"key": key, "operator": operator, "values": [labels[key]]} for key in term.get(keys) or [] if key in labels
        ]
    return {**term, "labelSelector": {**selector, "matchExpressions": expressions}}


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("spaces", SPACES)
@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("place", PLACES)
def test_selector_selects_same_pods_on_host(place, selector, spaces, keys):
    spread = place == "spread"
    if spread and (spaces != "absent" or keys == "mismatch"):
        return  # the field has no such companions
    put, got = PLACES[place]
    term = {**SELECTORS[selector], **({} if spread else SPACES[spaces]), **KEYS[keys]}
    own = {"app": "web", "version": "1"}
    wanted = chosen(merged(term, own), "shop", spread)
    platform = [{}, {"app": "web", naming.COMPONENT: "server"}]  # pods of the platform
    # A virtual API server before 1.34 does not merge for topology spread.
    for given in (term, merged(term, own)):
        found = got(made(put(given), labels=own))
        assert not {"matchLabelKeys", "mismatchLabelKeys", "namespaces", "namespaceSelector"} & set(found)
        on_host = {
            (namespace_object, at)
            for namespace_object in POD_CONTEXT.namespaces
            for at, labels in enumerate(LABELS)
            if not chooses_none(found.get("labelSelector"), spread)
            and pod_scheduling.matches(found["labelSelector"], naming.pod_labels(namespace_object, labels))
        }
        assert on_host == wanted
        if not chooses_none(found.get("labelSelector"), spread):
            assert not any(pod_scheduling.matches(found["labelSelector"], labels) for labels in platform)


def test_selector_ignores_later_label_changes():
    key = {"matchLabelKeys": ["version"], "labelSelector": {}}
    put, got = PLACES["spread"]
    found = got(made(put(merged(key, {"version": "1"})), labels={"version": "2"}))
    assert [one["values"] for one in found["labelSelector"]["matchExpressions"]] == [["1"]]
