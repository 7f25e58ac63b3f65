"""Translate an ingress to the host, and say which parts are rejected and why. Pure.

All tenants share the controller on the host, which turns ingresses into its own configuration. So only listed fields
are passed on, and only values that no controller interprets as more than a name or a path. Each part is checked
separately: a rejected part does not affect the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tenantry_syncer import naming

# Returns why a service of this name cannot be a backend; None if it can.
BackendCheck = Callable[[str], str | None]

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# Path characters of RFC 3986 without $ ' ( ) * and ; which are syntax to some controllers.
_PATH = re.compile(r"/([A-Za-z0-9/._~!&+,=:@-]|%[0-9A-Fa-f]{2})*")
_PATTERN = re.compile(r"/([A-Za-z0-9/._~!&+,=:@*-]|%[0-9A-Fa-f]{2})*")
_SPEC = {"ingressClassName", "rules", "tls", "defaultBackend"}
SPECIFIC = "ImplementationSpecific"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"


@dataclass(frozen=True)
class Offers:
    """Ingress classes, hosts and path types that the administrator offers to this virtual cluster."""

    classes: tuple[str, ...]
    hosts: tuple[str, ...]
    specific_paths: bool = False

    def covers(self, host: str) -> bool:
        """Return whether a host name is offered, also by a wildcard."""
        return any(
            pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))
            for pattern in self.hosts
        )


@dataclass
class CheckedIngress:
    """`spec` is for the host; None if the host gets nothing of the ingress.

    A controller in the virtual cluster may own an ingress of a class that is not `offered`, and sets its status.
    """

    spec: dict | None = None
    problems: list[str] = field(default_factory=list)
    offered: bool = True


class _RejectedSpec(Exception):
    """A part is not passed on; the message gives its path below the parent and the reason."""


def check(ingress: dict, offers: Offers, backend_problem: BackendCheck) -> CheckedIngress:
    """Return the parts of an ingress that are synced, and the problems of the others."""
    spec, namespace, checked = ingress["spec"], ingress["metadata"]["namespace"], CheckedIngress()
    checked.problems += _annotation_problems(ingress)
    if problem := _class_problem(ingress, offers):
        checked.problems.append(problem)
        checked.offered = False
        return checked
    checked.problems += [f"spec.{key}: not passed on. Omit it." for key in sorted(spec.keys() - _SPEC)]
    if spec.get("defaultBackend"):
        checked.problems.append("spec.defaultBackend: not supported. Add a rule with a host.")
    rules = list(_rules(spec, offers, backend_problem, checked.problems))
    tls = list(_tls(spec, offers, checked.problems))
    if rules:
        checked.spec = {"ingressClassName": spec["ingressClassName"], "rules": _renamed(rules, namespace)}
        if tls:
            checked.spec["tls"] = tls
            for one in tls:
                if "secretName" in one:
                    one["secretName"] = naming.host_name(namespace, one["secretName"])
    return checked


def kept(current: dict, desired: dict) -> dict | None:
    """Return the parts of the current spec that are still desired; None if there are none."""
    paths = {(rule["host"], _frozen(path)) for rule in desired["rules"] for path in rule["http"]["paths"]}
    rules = []
    for rule in current.get("rules") or []:
        left = [one for one in (rule.get("http") or {}).get("paths") or [] if (rule.get("host"), _frozen(one)) in paths]
        if left:
            rules.append({"host": rule["host"], "http": {"paths": left}})
    if not rules or current.get("ingressClassName") != desired["ingressClassName"]:
        return None
    tls = [one for one in current.get("tls") or [] if one in desired.get("tls", [])]
    return {"ingressClassName": desired["ingressClassName"], "rules": rules, **({"tls": tls} if tls else {})}


def services_of(ingress: dict) -> set[str]:
    """Return the names of the services that an ingress references."""
    spec = ingress["spec"]
    backends = [path.get("backend") or {} for rule in spec.get("rules") or [] for path in _paths(rule)]
    return {one["service"]["name"] for one in backends if one.get("service")}


def _annotation_problems(ingress: dict) -> Iterator[str]:
    """Report annotations of controllers, which often configure the whole proxy and are not passed on."""
    given = ingress["metadata"].get("annotations") or {}
    found = sorted(key for key in given if "ingress" in key.partition("/")[0] and key != CLASS_ANNOTATION)
    if found:
        yield f"metadata.annotations: {', '.join(found)}: not passed on. The host's controller does not see them."


def _class_problem(ingress: dict, offers: Offers) -> str | None:
    desired = ingress["spec"].get("ingressClassName")
    if desired in offers.classes:
        return None
    use = f"Use {' or '.join(offers.classes)}." if offers.classes else "This virtual cluster offers no class."
    if desired:
        return f"spec.ingressClassName: {desired} is not offered. {use}"
    if CLASS_ANNOTATION in (ingress["metadata"].get("annotations") or {}):
        return f"spec.ingressClassName: required; the annotation {CLASS_ANNOTATION} is ignored. {use}"
    return f"spec.ingressClassName: required. {use}"


def _rules(spec: dict, offers: Offers, backend_problem: BackendCheck, problems: list[str]) -> Iterator[dict]:
    for number, rule in enumerate(spec.get("rules") or []):
        where = f"spec.rules[{number}]"
        try:
            host = _rule_host(rule, offers)
        except _RejectedSpec as rejected:
            problems.append(f"{where}{rejected}")
            continue
        paths = []
        for at, path in enumerate(_paths(rule)):
            try:
                paths.append(_path(path, offers, backend_problem))
            except _RejectedSpec as rejected:
                problems.append(f"{where}.http.paths[{at}]{rejected} Host: {host}.")
        if paths:
            yield {"host": host, "http": {"paths": paths}}


def _rule_host(rule: dict, offers: Offers) -> str:
    """Return the host of a rule. The proxy is shared: a rule must name one of the tenant's own hosts. Raises."""
    _listed(rule, {"host", "http"}, "")
    _listed(rule.get("http") or {}, {"paths"}, ".http")
    host = rule.get("host", "")
    if not host or host.startswith("*"):
        raise _RejectedSpec(f".host: must be a host name without a wildcard, not {host or 'empty'}.")
    _check_host(host, offers, ".host")
    if not _paths(rule):
        raise _RejectedSpec(".http.paths: empty. Add a path.")
    return host


def _check_host(host: str, offers: Offers, where: str) -> None:
    # Controllers serve the certificate of a host to any ingress that names it.
    if not offers.covers(host):
        raise _RejectedSpec(f"{where}: host {host} is not offered. Use {' or '.join(offers.hosts)}.")
    if not _NAME.fullmatch(host.removeprefix("*.")):
        raise _RejectedSpec(f"{where}: {host!r} is not a valid host name.")


def _path(path: dict, offers: Offers, backend_problem: BackendCheck) -> dict:
    _listed(path, {"path", "pathType", "backend"}, "")
    kind, text = path.get("pathType"), path.get("path") or "/"
    if kind not in ("Exact", "Prefix", SPECIFIC) or (kind == SPECIFIC and not offers.specific_paths):
        raise _RejectedSpec(f".pathType: {kind} is not offered. Use Prefix or Exact.")
    if not (_PATTERN if kind == SPECIFIC else _PATH).fullmatch(text):
        raise _RejectedSpec(
            f".path: {text!r} must begin with / and contain only letters, digits, - . _ ~ / ! & + , = : @ and %XX: "
            "some controllers interpret other characters."
        )
    return {
        "path": text,
        "pathType": kind,
        "backend": {"service": _service(path.get("backend") or {}, backend_problem)},
    }


def _service(backend: dict, backend_problem: BackendCheck) -> dict:
    """Return the backend; only services with a selector, because others could bypass network policies. Raises."""
    _listed(backend, {"service"}, ".backend")
    service = backend.get("service") or {}
    _listed(service, {"name", "port"}, ".backend.service")
    port = service.get("port") or {}
    _listed(port, {"name", "number"}, ".backend.service.port")
    if problem := backend_problem(service.get("name", "")):
        raise _RejectedSpec(f".backend.service: {problem}")
    return {"name": service["name"], "port": port}


def _tls(spec: dict, offers: Offers, problems: list[str]) -> Iterator[dict]:
    for number, one in enumerate(spec.get("tls") or []):
        where = f"spec.tls[{number}]"
        try:
            _listed(one, {"hosts", "secretName"}, "")
            if not one.get("hosts"):
                raise _RejectedSpec(".hosts: empty. Add the hosts that the certificate is for.")
            if one.get("secretName") and not _NAME.fullmatch(one["secretName"]):
                raise _RejectedSpec(f".secretName: {one['secretName']!r} is not a valid name of a Secret.")
            for host in one["hosts"]:
                _check_host(host, offers, ".hosts")
        except _RejectedSpec as rejected:
            problems.append(f"{where}{rejected}")
        else:
            yield {key: value for key, value in one.items() if value}


def _listed(given: dict, fields: set[str], where: str) -> None:
    if unknown := sorted(given.keys() - fields):
        raise _RejectedSpec(f"{where}.{unknown[0]}: not passed on. Omit it.")


def _paths(rule: dict) -> list[dict]:
    return (rule.get("http") or {}).get("paths") or []


def _renamed(rules: list[dict], namespace: str) -> list[dict]:
    for rule in rules:
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            service["name"] = naming.host_name(namespace, service["name"])
    return rules


def _frozen(path: dict) -> str:
    return repr((path.get("path"), path.get("pathType"), path.get("backend")))
