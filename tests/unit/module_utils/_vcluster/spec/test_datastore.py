"""A database outside of the virtual cluster: which endpoints are taken, and where they get to."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import HostNetworks
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION, VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import plan
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import cluster as cluster_spec

from ..example import SHARED, make_item, render

PASSWORD = "correct-horse"
POSTGRES = f"postgres://kine:{PASSWORD}@db.example.com/Payments_dev"
PLACE = "postgres://db.example.com:5432/payments_dev"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

PLACES = [
    (POSTGRES, PLACE),
    (f"postgresql://kine:{PASSWORD}@db.example.com:6432/dev?sslmode=require", "postgres://db.example.com:6432/dev"),
    (f"postgres://kine:{PASSWORD}@[2001:db8::7]/dev", "postgres://[2001:db8::7]:5432/dev"),
    ("postgres://kine@192.0.2.7/dev", "postgres://192.0.2.7:5432/dev"),
    (f"mysql://kine:{PASSWORD}@tcp(db.example.com:3306)/Dev", "mysql://db.example.com:3306/Dev"),
    (f"mysql://kine:{PASSWORD}:@/x@tcp(192.0.2.7)/dev?tls=true", "mysql://192.0.2.7:3306/dev"),
]
BAD = [
    (f"{PASSWORD}", "must begin with"),
    (f"sqlite:///{PASSWORD}", "must begin with"),
    (f"https://{PASSWORD}:2379", "must begin with"),
    (f"Postgres://{PASSWORD}", "must begin with"),
    ("postgres://{{ password }}@db/dev", "contains a template"),
    (f"postgres://kine:{PASSWORD}@db/dev\n", "one line"),
    (f"postgres://kine:{PASSWORD} @db/dev", "without spaces"),
    (f"postgres://kine:{PASSWORD}/1@db/dev", "of the form postgres://"),
    (f"postgres://kine:{PASSWORD}@/dev", "of the form postgres://"),
    (f"postgres://kine:{PASSWORD}@a,b/dev", "neither a DNS name"),
    (f"postgres://kine:{PASSWORD}@db", "must name a database"),
    (f"postgres://kine:{PASSWORD}@db/", "must name a database"),
    (f"postgres://kine:12/{PASSWORD}@db/dev", "must name a database"),
    (f"postgres://kine:{PASSWORD}@localhost/dev", "the pod itself"),
    (f"postgres://kine:{PASSWORD}@127.0.0.1/dev", "the pod itself"),
    (f"mysql://kine:{PASSWORD}@db.example.com/dev", "of the form mysql://"),
    (f"mysql://kine:{PASSWORD}@unix(/run/mysqld.sock)/dev", "of the form mysql://"),
    (f"mysql://kine:{PASSWORD}@tcp(db)/", "must name a database"),
    (f"mysql://kine:{PASSWORD}@tcp()/dev", "of the form mysql://"),
]


def parsed(endpoint: str = POSTGRES, **more):
    item = make_item(datastore={"endpoint": endpoint, **more.pop("datastore", {})}, **more)
    return cluster_spec.parse(item)


@pytest.mark.parametrize(("endpoint", "place"), PLACES)
def test_what_is_recorded_is_which_database_it_is_and_not_who_enters(endpoint, place):
    spec = parsed(endpoint)
    record = json.loads(spec.record("192.0.2.10").as_text())
    assert record["datastore"] == place
    assert record["persistence"] == "datastore"
    assert PASSWORD not in str(record) + repr(spec)


@pytest.mark.parametrize(("endpoint", "named"), BAD)
def test_what_is_no_endpoint_is_refused_without_being_quoted(endpoint, named):
    with pytest.raises(TenantryError) as error:
        parsed(endpoint)
    assert str(error.value).startswith("datastore.endpoint: ")
    assert named in str(error.value)
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"datastore": {"certificate": PEM}}, "go together"),
        ({"datastore": {"ca": "/etc/ssl/ca.pem"}}, "datastore.ca: is not PEM"),
        ({"datastore": {"networks": ["192.0.2.7/24"]}}, "datastore.networks:"),
        ({"durability": "full"}, "durability: applies to the datastore on the volume of a single server only"),
    ],
)
def test_what_does_not_fit_is_refused(more, named):
    with pytest.raises(TenantryError, match=named):
        parsed(**more)


def test_it_needs_no_volume():
    assert parsed().volume is None
    assert parsed().lasting
    assert parsed().resources.storage == 0
    kinds = {obj["kind"] for obj in everything(datastore={"endpoint": POSTGRES})}
    assert "PersistentVolumeClaim" not in kinds
    assert parsed(**SHARED).lasting


def test_sleep_needs_no_volume_with_it():
    assert parsed(sleep={"idle": "2h", "schedule": None, "timezone": "UTC"}).lifecycle_policy.sleep


def test_user_and_password_can_change_and_the_database_cannot():
    spec, record = parsed(), parsed().record("")
    cluster_spec.check_change(record, parsed(POSTGRES.replace(PASSWORD, "battery-staple")))
    for other, named in (
        (parsed(POSTGRES.replace("db.example", "db2.example")), f"from {PLACE} to postgres://db2.example.com"),
        (cluster_spec.parse(make_item()), f"from {PLACE} to k3s's own"),
    ):
        with pytest.raises(TenantryError, match=f"datastore: cannot be changed {named}"):
            cluster_spec.check_change(record, other)
    own = cluster_spec.parse(make_item()).record("")
    written = json.loads(own.as_text())
    del written["datastore"]  # as written before the option was
    without = VClusterRecord.of({"metadata": {"annotations": {SPEC_ANNOTATION: json.dumps(written)}}})
    for before in (own, without):
        cluster_spec.check_change(before, cluster_spec.parse(make_item()))
        with pytest.raises(TenantryError, match="from k3s's own to postgres://"):
            cluster_spec.check_change(before, spec)


def test_two_virtual_clusters_have_two_databases():
    places = FleetState.__new__(FleetState)
    places.found = {}
    ours, theirs = parsed(), parsed(POSTGRES.replace("dev", "DEV"), name="stage")
    third = parsed(POSTGRES.replace("dev", "stage"), name="s")
    assert places.shared_datastores([ours, replace(theirs, datastore=None), third]) == {}
    found = places.shared_datastores([ours, theirs])
    assert list(found) == ["payments--stage"]
    assert (
        f"{PLACE} is already the database of payments--dev. Use a separate one for payments--stage"
        in found["payments--stage"]
    )


def everything(**changes):
    return cluster.everything(render({"host": HostNetworks(pods=("10.42.0.0/16",))}, **changes))


def named(objects, kind, name):
    return next(obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name))


def test_the_endpoint_is_in_the_secret_with_the_configuration_and_nowhere_else():
    given = {"endpoint": POSTGRES, "ca": PEM, "certificate": PEM, "key": PEM.replace("CERTIFICATE", "PRIVATE KEY")}
    objects = everything(datastore=given)
    data = named(objects, "Secret", "server-config")["data"]
    decoded = {name: base64.b64decode(value).decode() for name, value in data.items()}
    config = json.loads(decoded["config.yaml"])
    assert config["datastore-endpoint"] == POSTGRES
    for key, option in (("cafile", "ca"), ("certfile", "certificate"), ("keyfile", "key")):
        directory, _slash, file = config[f"datastore-{key}"].rpartition("/")
        assert (directory, decoded[file]) == ("/etc/rancher/k3s", given[option])
    rest = [obj for obj in objects if obj["kind"] != "Secret"]
    assert PASSWORD not in json.dumps(rest)
    assert base64.b64encode(POSTGRES.encode()).decode() not in json.dumps(rest)


def test_a_new_password_restarts_the_servers():
    def stamp(endpoint):
        template = named(everything(datastore={"endpoint": endpoint}), "StatefulSet", "server")["spec"]["template"]
        return template["metadata"]["annotations"]["tenantry.dev/config"]

    assert stamp(POSTGRES) == stamp(POSTGRES)
    assert stamp(POSTGRES) != stamp(POSTGRES.replace(PASSWORD, "battery-staple"))


@pytest.mark.parametrize(
    ("endpoint", "networks", "peer"),
    [
        ("postgres://kine@192.0.2.7:6432/dev", None, {"ipBlock": {"cidr": "192.0.2.7/32"}}),
        ("postgres://kine@db.example.com:6432/dev", ["10.9.0.0/24"], {"ipBlock": {"cidr": "10.9.0.0/24"}}),
        (
            "postgres://kine@db.databases.svc.cluster.local:6432/dev",
            None,
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "databases"}}},
        ),
        ("postgres://kine@db.example.com:6432/dev", None, None),
    ],
)
def test_the_servers_reach_the_database_and_the_pods_do_not(endpoint, networks, peer):
    objects = everything(datastore={"endpoint": endpoint, "networks": networks})
    rule = {"to": [peer], "ports": [{"port": 6432, "protocol": "TCP"}]}
    assert (rule in named(objects, "NetworkPolicy", "server")["spec"]["egress"]) == (peer is not None)
    workload = named(objects, "NetworkPolicy", "workload")["spec"]["egress"]
    assert rule not in workload
    if peer and "ipBlock" in peer:
        worlds = [one["ipBlock"] for rule in workload for one in rule["to"] if "ipBlock" in one]
        assert all(peer["ipBlock"]["cidr"] in world["except"] for world in worlds if world["cidr"] == "0.0.0.0/0")


def test_three_servers_are_three_of_everything_that_a_server_takes():
    """QUO-2."""
    least = parsed(servers=3, agents=0, resources=None).resources.as_text()
    assert least == {"cpu": "3", "memory": "3Gi", "storage": "0", "pods": "3"}
    with pytest.raises(TenantryError, match=r"resources.cpu: .* Set 4500m or more"):
        parsed(**{**SHARED, "resources": {"cpu": "4", "memory": "4Gi", "pods": 20}}, servers=3)


def test_servers_come_and_go_with_a_datastore_that_they_share():
    one, three = parsed(), parsed(servers=3)
    for before, after in ((one, three), (three, one)):
        cluster_spec.check_change(before.record(""), after)
    assert (
        named(everything(**{"servers": 3, "datastore": {"endpoint": POSTGRES}}), "StatefulSet", "server")["spec"][
            "replicas"
        ]
        == 3
    )


def test_of_several_syncers_each_knows_that_it_is_one():
    def told(**more):
        objects = everything(**{**SHARED, "resources": {"cpu": "9", "memory": "9Gi", "pods": 20}}, **more)
        data = named(objects, "Secret", "syncer-config")["data"]
        return json.loads(base64.b64decode(data["config.json"])).get("several")

    assert told(servers=3, datastore={"endpoint": POSTGRES}) is True
    assert told() is None


def test_the_api_of_several_servers_is_that_of_those_that_are_ready():
    shared = {**SHARED, "resources": {"cpu": "9", "memory": "9Gi", "pods": 20}}
    for servers, expected in ((1, True), (3, None)):
        objects = everything(**shared, servers=servers, datastore={"endpoint": POSTGRES})
        for service in ("api", "kubernetes"):
            assert named(objects, "Service", service)["spec"].get("publishNotReadyAddresses") is expected


def test_one_of_several_servers_answers_on_until_new_connections_are_led_to_the_others():
    shared = {**SHARED, "resources": {"cpu": "9", "memory": "9Gi", "pods": 20}}
    for servers, waits in ((1, set()), (3, {"k3s", "syncer"})):
        objects = everything(**shared, servers=servers, datastore={"endpoint": POSTGRES})
        pods = [named(objects, "StatefulSet", part)["spec"]["template"]["spec"] for part in ("server", "syncer")]
        waiting = {one["name"]: one["lifecycle"] for pod in pods for one in pod["containers"] if "lifecycle" in one}
        assert waiting.keys() == waits
        longest = min(pod["terminationGracePeriodSeconds"] for pod in pods)
        assert all(0 < one["preStop"]["sleep"]["seconds"] < longest for one in waiting.values())


class Host:
    """A host with one Service."""

    name = "hub"

    def __init__(self, service: dict | None) -> None:
        self.service = service

    def get(self, kind: str, name: str, namespace: str) -> dict | None:
        assert (kind, name, namespace) == ("v1/Service", "pg", "databases")
        return self.service


@pytest.mark.parametrize("host", ["pg.databases.svc", "pg.databases.svc.cluster.local"])
def test_a_database_that_is_a_service_of_the_host_is_known_by_its_address(host):
    """Servers do not ask the host's DNS, which knows what others have there."""
    endpoint = POSTGRES.replace("db.example.com", host)
    found = plan._datastore_address(Host({"spec": {"clusterIP": "10.43.5.5"}}), parsed(endpoint).datastore)
    rendering = render({"datastore_ip": found}, datastore={"endpoint": endpoint})
    spec = named(cluster.everything(rendering), "StatefulSet", "server")["spec"]["template"]["spec"]
    assert spec["hostAliases"] == [{"ip": "10.43.5.5", "hostnames": [host]}]
    assert plan._datastore_address(Host(None), parsed().datastore) == ""


@pytest.mark.parametrize(
    ("service", "named"),
    [
        (None, "hub has no Service pg in namespace databases. Create it"),
        ({"spec": {"clusterIP": "None"}}, "has no cluster IP. Name a Service"),
        ({"spec": {"type": "ExternalName", "externalName": "db.example.com"}}, "has no cluster IP. Name a Service"),
    ],
)
def test_a_service_without_an_address_is_refused(service, named):
    datastore = parsed(POSTGRES.replace("db.example.com", "pg.databases.svc")).datastore
    with pytest.raises(TenantryError, match=rf"^datastore\.endpoint: .*{named}"):
        plan._datastore_address(Host(service), datastore)


def test_a_pod_by_its_name_is_refused():
    with pytest.raises(TenantryError, match="other than SERVICE"):
        parsed(POSTGRES.replace("db.example.com", "pg-0.pg.databases.svc"))
