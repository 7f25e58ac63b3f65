"""What the requests of the sweeps carry: an object of each kind that an API server serves in a namespace."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from .hosted import CONTAINER, SPACE

TEMPLATE = {"metadata": {"labels": {"probe": "x"}}, "spec": {"containers": [CONTAINER], "restartPolicy": "Always"}}
ONCE = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
SELECTED = {"selector": {"matchLabels": {"probe": "x"}}, "template": TEMPLATE}
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "probe"}


def _empty_request() -> bytes:
    """A request of a certificate as a kubelet makes it: a key, and the proof that it has it."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)


# What an object needs besides its name, by plural; nothing where it is not listed.
BODIES: dict[str, dict] = {
    "bindings": {"metadata": {"name": "probe"}, "target": {"kind": "Node", "name": "hub"}},
    "controllerrevisions": {"revision": 1, "data": {}},
    "cronjobs": {"spec": {"schedule": "* * * * *", "suspend": True, "jobTemplate": {"spec": {"template": ONCE}}}},
    "csistoragecapacities": {"storageClassName": "a"},
    "daemonsets": {"spec": SELECTED},
    "deployments": {"spec": {**SELECTED, "replicas": 0}},
    "endpointslices": {"addressType": "IPv4", "endpoints": [], "ports": []},
    "events": {"involvedObject": {"namespace": SPACE}, "reason": "A", "type": "Normal"},
    "horizontalpodautoscalers": {
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}
    },
    "ingresses": {"spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}},
    "jobs": {"spec": {"suspend": True, "template": ONCE}},
    "localsubjectaccessreviews": {
        "metadata": {"name": ""},
        "spec": {"user": "a", "resourceAttributes": {"namespace": SPACE, "verb": "get", "resource": "pods"}},
    },
    "networkpolicies": {"spec": {"podSelector": {}}},
    "persistentvolumeclaims": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "none",
        }
    },
    "podcertificaterequests": {
        "spec": {
            "signerName": "example.com/any",
            **{f"{whose}Name": "a" for whose in ("pod", "serviceAccount", "node")},
            **{f"{whose}UID": "a" for whose in ("pod", "serviceAccount", "node")},
            "maxExpirationSeconds": 3600,
            "stubPKCS10Request": base64.b64encode(_empty_request()).decode(),
        }
    },
    "poddisruptionbudgets": {"spec": {"maxUnavailable": 0, "selector": {}}},
    "pods": {"spec": {"containers": [{**CONTAINER, "resources": {"requests": {"cpu": "2m"}}}]}},
    "podtemplates": {"template": TEMPLATE},
    "replicasets": {"spec": {**SELECTED, "replicas": 0}},
    "replicationcontrollers": {"spec": {"selector": {"probe": "x"}, "template": TEMPLATE, "replicas": 0}},
    "resourceclaims": {"spec": {}},
    "resourceclaimtemplates": {"spec": {"spec": {}}},
    "rolebindings": {"roleRef": ROLE, "subjects": []},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "statefulsets": {"spec": {**SELECTED, "serviceName": "a", "replicas": 0}},
    "tenantuserrequests": {"spec": {"requestedBy": "system:admin", "role": "viewer"}},
    "virtualclusterrequests": {
        "spec": {"requestedBy": "system:admin", "resources": {"cpu": 1, "memory": "1Gi", "pods": 1}}
    },
    "widgets": {"spec": {"replicas": 1}},
}
SUBRESOURCES: dict[str, Any] = {
    "pods/binding": {"target": {"kind": "Node", "name": "hub"}},
    "pods/eviction": {},
    "serviceaccounts/token": {"spec": {}},
    "pods/ephemeralcontainers": {"spec": {"ephemeralContainers": [{"name": "e", "image": "e"}]}},
    "pods/resize": {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "1m"}}}]}},
}
