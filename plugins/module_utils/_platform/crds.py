# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The custom resources for requests of tenants, and the admission policy for them. Pure.

The schema has all that a requester decides. Administrators decide what a virtual cluster consists of, its images,
arguments and host (_self_service), so there are no fields for these.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform import manifests, rbac

GROUP = "tenantry.dev"
VERSION = "v1alpha1"
KIND = "VirtualClusterRequest"
PLURAL = "virtualclusterrequests"
USER_KIND = "TenantUserRequest"
USER_PLURAL = "tenantuserrequests"
# The roles that requests can grant. Only administrators define platform operators.
USER_ROLES = tuple(role for role in rbac.ROLES if role != rbac.PLATFORM_OPERATOR)

# Limits for a client's metadata on a request. kubectl apply adds the whole request as an annotation.
MOST_NOTES = 20
MOST_TEXT = 8192

# The short form of a requester: a user of the tenant, by the ServiceAccount in the tenant namespace.
SHORT = "^[a-z]([a-z0-9-]*[a-z0-9])?$"
_QUANTITY = "^[0-9]+([.][0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_DURATION = "^([0-9]{1,9}[dhms])+$"
_CONTROLLERS = "system:serviceaccount:kube-system:"


def objects() -> list[dict]:
    """Render the custom resource definitions and the admission policy."""
    size = [_column("CPU", ".spec.resources.cpu"), _column("Memory", ".spec.resources.memory")]
    what = "Request for a virtual cluster of this namespace's tenant. It is deleted with the request."
    user = "Request for a user of this namespace's tenant. The user is deleted with the request."
    return [
        _definition(KIND, PLURAL, "vcr", size, _schema(what, _spec())),
        _definition(USER_KIND, USER_PLURAL, "tur", [_column("Role", ".spec.role")], _schema(user, _user_spec())),
        *_policy(),
    ]


def _definition(kind: str, plural: str, short: str, columns: list[dict], schema: dict) -> dict:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": naming.labels("platform")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        _column("Phase", ".status.phase"),
                        _column("By", ".spec.requestedBy"),
                        *columns,
                        _column("Message", ".status.message"),
                        _column("Age", ".metadata.creationTimestamp", "date"),
                    ],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _column(name: str, path: str, kind: str = "string") -> dict:
    return {"name": name, "type": kind, "jsonPath": path}


def _schema(description: str, spec: dict) -> dict:
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {"spec": spec, "status": _status()},
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.matches('{SHORT}') && !self.metadata.name.contains('--')",
                "message": "metadata.name: is also the name of the requested object. Use lower-case letters, digits "
                "and single '-', starting with a letter",
            },
            {
                "rule": f"self.metadata.name.size() <= {naming.MAX_LABEL}",
                "message": f"metadata.name: must have at most {naming.MAX_LABEL} characters",
            },
        ],
    }


def _requester() -> dict:
    requester = _text("Requester: your name in the tenant, or the full name that 'kubectl auth whoami' shows.", 253)
    requester["x-kubernetes-validations"] = [{"rule": "self == oldSelf", "message": "cannot be changed"}]
    return {**requester, "minLength": 1}


def _user_spec() -> dict:
    role = {**_text("Role of the user.", 20), "enum": [*USER_ROLES]}
    access = _object(
        "Role of the user in one virtual cluster.",
        {"vcluster": {**_text("Its name.", 63), "pattern": SHORT}, "role": {**role, "description": "The role there."}},
        required=["vcluster", "role"],
    )
    return _object(
        "Desired user.",
        {
            "requestedBy": _requester(),
            "role": role,
            "access": {
                "type": "array",
                "maxItems": 100,
                "items": access,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["vcluster"],
                "description": "Virtual clusters that the user may enter. Defaults to all of the tenant.",
            },
        },
        required=["requestedBy", "role"],
    )


# What these fields were called before the first release. Requests that still have them are changed by the next run of
# tenantry.kube.vcluster_self_service; without a schema, the API server would drop them before it can.
FORMER = {"slice": "resources", "expires": "ttl"}


def _spec() -> dict:
    spec = _object("Desired virtual cluster.", _fields(), required=["requestedBy"])
    for former, now in FORMER.items():
        spec["properties"][former] = {**spec["properties"][now], "description": f"Use {now}."}
    spec["x-kubernetes-validations"] = [
        {"rule": "has(self.resources) || has(self.slice)", "message": "spec.resources: required"}
    ]
    return spec


def _fields() -> dict:
    return {
        "requestedBy": _requester(),
        "resources": _object(
            "Share of the tenant's quota, including the virtual cluster's own server.",
            {
                "cpu": _quantity("CPU cores, such as 2 or 500m."),
                "memory": _quantity("Memory, such as 4Gi."),
                "storage": _quantity("Storage, such as 20Gi. Defaults to the size of the server's volume."),
                "pods": {"type": "integer", "minimum": 1, "maximum": 100_000, "description": "Number of pods."},
            },
            required=["cpu", "memory", "pods"],
        ),
        "version": {
            **_text("Release of k3s, one of those that the platform offers. Defaults to the platform's.", 40),
            "pattern": r"^v[0-9]+[.][0-9]+[.][0-9]+[+][a-z0-9]+$",
        },
        "podSecurity": {
            **_text("Pod Security level of the pods. Defaults to the platform's.", 20),
            "enum": ["baseline", "restricted"],
        },
        "ttl": {
            **_text("Time from the creation of the request to the deletion of the virtual cluster, such as 14d.", 40),
            **_duration(),
        },
        "sleep": _object(
            "When the virtual cluster is paused.",
            {
                "idle": {**_text("Time without use after which it is paused, such as 2h.", 40), **_duration()},
                "schedule": {
                    "type": "array",
                    "maxItems": 20,
                    "items": {"type": "string", "maxLength": 60},
                    "description": "Days and times, such as 'mon-fri 20:00-06:00'.",
                },
                "timezone": _text("Time zone of the schedule, such as Europe/Berlin. Defaults to UTC.", 60),
            },
        ),
    }


def _status() -> dict:
    condition = _object(
        "Condition of the request, as in all Kubernetes objects.",
        {
            "type": {"type": "string"},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string"},
            "message": {"type": "string"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
        required=["type", "status"],
    )
    return _object(
        "Observed status. Only the platform writes it.",
        {
            "phase": {"type": "string"},
            "message": {"type": "string"},
            "namespace": {"type": "string"},
            "endpoint": {"type": "string"},
            "kubeconfig": {"type": "string"},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": {
                "type": "array",
                "items": condition,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        },
    )


def _object(description: str, properties: dict, required: list[str] | None = None) -> dict:
    found = {"type": "object", "description": description, "properties": properties}
    return {**found, "required": required} if required else found


def _text(description: str, longest: int) -> dict:
    return {"type": "string", "maxLength": longest, "description": description}


def _duration() -> dict:
    return {"pattern": _DURATION}


def _quantity(description: str) -> dict:
    return {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        "pattern": _QUANTITY,
        "minimum": 0,
        "maxLength": 20,
        "description": description,
    }


def _policy() -> list[dict]:
    """Requests are made in the user's own name, and only the requester or an admin of the tenant changes them."""
    operations = ("CREATE", "UPDATE", "DELETE")
    return manifests.admission_policy(
        "tenantry-requests",
        "platform",
        rules=[
            manifests.on(GROUP, plural, scope="Namespaced", operations=operations) for plural in (PLURAL, USER_PLURAL)
        ],
        when=f"!request.userInfo.username.startsWith('{_CONTROLLERS}')",
        validations=[
            {
                "expression": f"request.operation != 'CREATE' || {_is_requester('object')}",
                "message": "spec.requestedBy must be your own name: the short one within the tenant, or the full one "
                "that 'kubectl auth whoami' shows",
            },
            {
                "expression": f"request.operation == 'CREATE' || {_is_requester('oldObject')} || {_may_administer()}",
                "message": "only its requester or an admin of the tenant can change or delete a request",
            },
            {
                # The rights of the requester limit what it may grant.
                "expression": f"request.operation != 'UPDATE' || request.resource.resource != '{USER_PLURAL}' || "
                f"{_is_requester('oldObject')}",
                "message": "only its requester can change a request for a user. Delete it and create your own",
            },
            {
                "expression": "request.operation == 'DELETE' || (!has(object.metadata.finalizers) && "
                "!has(object.metadata.ownerReferences))",
                "message": "a request must not have finalizers or owners",
            },
            {
                "expression": f"request.operation == 'DELETE' || ({_is_small()})",
                "message": f"a request can have at most {MOST_NOTES} labels, {MOST_NOTES} field managers, and "
                f"annotations of {MOST_TEXT} characters in total",
            },
        ],
    )


def _is_requester(of: str) -> str:
    """A short name is a ServiceAccount of this namespace, so a full name of that form is denied."""
    name = f"{of}.spec.requestedBy"
    account = f"'system:serviceaccount:' + request.namespace + ':' + {name}"
    return f"request.userInfo.username == ({name}.matches('{SHORT}') ? {account} : {name})"


def _is_small() -> str:
    """Bound metadata, which the schema does not: each run reads all requests of all tenants."""
    notes = "object.metadata.?annotations.orValue({})"
    return (
        f"object.metadata.?labels.orValue({{}}).size() <= {MOST_NOTES} && "
        f"object.metadata.?managedFields.orValue([]).size() <= {MOST_NOTES} && "
        f"{notes}.map(key, key + {notes}[key]).join('').size() <= {MOST_TEXT}"
    )


def _may_administer() -> str:
    check = f"resource(request.resource.resource).namespace(request.namespace).check('{rbac.ADMINISTER}').allowed()"
    return f"authorizer.group('{GROUP}').{check}"
