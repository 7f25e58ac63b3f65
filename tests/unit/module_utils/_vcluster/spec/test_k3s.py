"""What an administrator adds to k3s, and what the platform hardens."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import agent as agent_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import api_server
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import (
    AGENT_KEYS,
    MANAGED,
    SERVER_KEYS,
    merged_arguments,
)

from ..example import SHARED, make_item, render

OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "greeting"}, "data": {"text": "hello"}}


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"k3s_config": {"tls-san": ["x"]}}, "k3s_config.tls-san: is set by the platform. Use the option expose"),
        ({"k3s_config": {"token": "x"}}, "k3s_config.token: is set by the platform. Omit it"),
        ({"k3s_config": {"kube-api-server-arg": []}}, "did you mean kube-apiserver-arg"),
        ({"k3s_config": {"debug": {"a": 1}}}, "k3s_config.debug: must be text"),
        ({"k3s_config": {"kube-apiserver-arg": "v=2"}}, "must be a list of flag=value"),
        ({"k3s_config": {"kube-apiserver-arg": ["v"]}}, "must be a list of flag=value"),
        ({"k3s_config": {"kube-apiserver-arg": ["--token-auth-file=/x"]}}, "token-auth-file is set by the platform"),
        ({"k3s_config": {"kubelet-arg": ["system-reserved=cpu=1"]}}, "system-reserved is set by the platform"),
        ({"agents": 0, "k3s_config": {"node-label": ["a=b"]}}, "k3s_config.node-label: applies to agents"),
        ({"manifests": [OBJECT, {"kind": "Pod"}]}, "manifests: item 2 is not a Kubernetes object"),
        ({"manifests": [{**OBJECT, "data": {"text": "x" * 600_000}}]}, "bytes are too many"),
    ],
)
def test_bad_input_is_one_line_with_option_and_rule(item: dict, told: str) -> None:
    with pytest.raises(TenantryError) as caught:
        parse(make_item(**item))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"etcd-arg": ["quota-backend-bytes=1"]},
            "k3s_config.etcd-arg: configures k3s's embedded etcd, which no virtual cluster uses. Omit it.",
        ),
        (
            {"etcd-expose-metrics": True},
            "k3s_config.etcd-expose-metrics: configures k3s's embedded etcd, which no virtual cluster uses. Omit it.",
        ),
        (
            {"kube-apiserver-arg": ["--audit-webhook-config-file=/etc/webhook.yaml"]},
            "k3s_config.kube-apiserver-arg: audit-webhook-config-file names a file, and no option puts one into the "
            "server's pod. Omit it.",
        ),
    ],
)
def test_what_would_have_no_effect_or_no_file_is_refused(given: dict, told: str) -> None:
    with pytest.raises(TenantryError) as caught:
        parse(make_item(k3s_config=given))
    assert str(caught.value) == told


def test_what_is_ours_cannot_be_given() -> None:
    assert not MANAGED.keys() & (SERVER_KEYS | AGENT_KEYS)
    merged = {"disable", "kube-apiserver-arg", "kube-controller-manager-arg"}
    ours = server_manifests.config(render()).keys() | agent_manifests.config(render()).keys()
    assert ours - MANAGED.keys() == {*merged, "kube-proxy-arg"}
    ours = server_manifests.config(render(**SHARED)).keys()
    assert ours - MANAGED.keys() == merged


def test_what_is_given_is_added_for_server_and_agents() -> None:
    given = {
        "disable": ["coredns"],
        "kube-apiserver-arg": ["audit-log-maxage=7", "enable-admission-plugins=AlwaysPullImages"],
        "node-label": ["tier=gold"],
        "kube-proxy-arg": ["metrics-bind-address=0.0.0.0"],
    }
    rendering = render(k3s_config=given)
    server, agent = server_manifests.config(rendering), agent_manifests.config(rendering)
    assert server["disable"] == ["coredns", "local-storage", "metrics-server", "servicelb", "traefik"]
    arguments = server["kube-apiserver-arg"]
    assert "enable-admission-plugins=NodeRestriction,EventRateLimit,AlwaysPullImages" in arguments
    assert [one for one in arguments if one.startswith("audit-log-maxage")] == ["audit-log-maxage=7"]
    assert any(one.startswith("token-auth-file=") for one in arguments)
    assert "node-label" not in server
    assert agent["node-label"] == ["tier=gold"]
    assert agent["kube-proxy-arg"] == ["conntrack-max-per-core=0", "metrics-bind-address=0.0.0.0"]


def test_what_somebody_gets_signed_or_granted_inside_ends() -> None:
    server = server_manifests.config(render())
    assert "cluster-signing-duration=24h" in server["kube-controller-manager-arg"]
    assert "service-account-max-token-expiration=8760h" in server["kube-apiserver-arg"]
    assert "enable-bootstrap-token-auth=false" in server["kube-apiserver-arg"], "a Secret is no credential"
    with pytest.raises(TenantryError, match="enable-bootstrap-token-auth is set by the platform"):
        render(k3s_config={"kube-apiserver-arg": ["enable-bootstrap-token-auth=true"]})
    longer = server_manifests.config(
        render(k3s_config={"kube-controller-manager-arg": ["cluster-signing-duration=72h"]})
    )
    signing = [one for one in longer["kube-controller-manager-arg"] if "signing-duration" in one]
    assert signing == ["cluster-signing-duration=72h"]


def test_arguments_of_one_name_are_all_kept() -> None:
    assert merged_arguments(["v=1"], ["--v=2", "feature-gates=A=true", "feature-gates=B=true"]) == [
        "v=2",
        "feature-gates=A=true",
        "feature-gates=B=true",
    ]


def test_servers_are_restarted_by_a_change() -> None:
    def stamp(**changes: object) -> str:
        template = server_manifests.stateful_set(render(**changes))["spec"]["template"]
        return template["metadata"]["annotations"][server_manifests.CONFIG_HASH]

    assert len({stamp(), stamp(k3s_config={"debug": True}), stamp(manifests=[OBJECT])}) == 3


def test_manifests_are_in_a_secret_and_copied_by_an_init_container() -> None:
    assert "initContainers" not in server_manifests.stateful_set(render())["spec"]["template"]["spec"]
    rendering = render(manifests=[OBJECT, OBJECT])
    pod = server_manifests.stateful_set(rendering)["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["manifests"]
    assert " cp -f " in pod["initContainers"][0]["command"][-1], "the copy of the pod before is read-only"
    assert "hello" not in json.dumps(pod)
    assert "hello" not in repr(rendering)
    assert [one["metadata"]["name"] for one in server_manifests.config_secrets(rendering)] == [
        "server-config",
        "manifests",
    ]


def test_secrets_are_encrypted_and_their_content_is_never_logged() -> None:
    assert server_manifests.config(render())["secrets-encryption"] is True
    levels = {rule["level"] for rule in api_server.audit_policy()["rules"]}
    assert levels == {"None", "Metadata"}


@pytest.mark.parametrize(
    ("user", "verb", "resource", "level"),
    [
        ("system:serviceaccount:shop:app", "list", "pods", "None"),
        ("system:serviceaccount:shop:app", "get", "secrets", "Metadata"),
        ("system:serviceaccount:shop:app", "get", "pods/exec", "Metadata"),
        ("system:serviceaccount:shop:app", "create", "pods", "Metadata"),
        ("system:serviceaccount:tenantry-system:bob", "list", "pods", "Metadata"),
        ("somebody@example.com", "list", "pods", "Metadata"),
    ],
)
def test_what_workloads_read_does_not_push_out_what_others_do(user, verb, resource, level) -> None:
    groups = [] if "@" in user else ["system:serviceaccounts", "system:serviceaccounts:" + user.split(":")[2]]

    def applies(rule: dict) -> bool:
        named = [one for given in rule.get("resources", []) for one in given["resources"] if given["group"] == ""]
        return (
            "nonResourceURLs" not in rule
            and user in rule.get("users", [user])
            and bool(set(groups) & set(rule.get("userGroups", groups)) or "userGroups" not in rule)
            and verb in rule.get("verbs", [verb])
            and ("resources" not in rule or resource in named)
        )

    rules = api_server.audit_policy()["rules"]
    assert next(rule["level"] for rule in rules if applies(rule)) == level


def test_pod_security_inside_is_baseline_where_the_host_has_no_say() -> None:
    def plugins(**changes: object) -> dict:
        return {one["name"]: one["configuration"] for one in api_server.admission(render(**changes))["plugins"]}

    assert plugins()["PodSecurity"]["defaults"]["enforce"] == "baseline"
    assert plugins()["PodSecurity"]["exemptions"]["namespaces"] == ["kube-system"]
    assert plugins(**SHARED).keys() == {"EventRateLimit"}
