# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubeconfig files: load one self-contained context, build, and write them readable by their owner only."""

from __future__ import annotations

import base64
import binascii
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import did_you_mean
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import encoded
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.transport import check_proxy

try:
    import yaml
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.exec_provider import ExecProvider
    from kubernetes.config.kube_config import ConfigNode
except ImportError:
    yaml = None  # type: ignore[assignment]  # reported once, by _module.main()

LARGEST_FILE = 1024 * 1024

# Fields that may refer to a file: field with the content -> field with the path.
_CLUSTER_FILES = {"certificate-authority-data": "certificate-authority"}
_USER_FILES = {"client-certificate-data": "client-certificate", "client-key-data": "client-key"}
# Fields that are used or irrelevant here. Others are rejected, because ignoring them could be wrong.
_FIELDS = {
    "cluster": {
        "server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression", "extensions",
        *_CLUSTER_FILES, *_CLUSTER_FILES.values(),
    },
    "user": {"token", "tokenFile", "exec", "auth-provider", "extensions", *_USER_FILES, *_USER_FILES.values()},
    "context": {"cluster", "user", "namespace", "extensions"},
}  # fmt: skip
_IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")


class KubeContext(NamedTuple):
    """A context for `build()`: one cluster and one user."""

    name: str
    server: str
    ca_data_b64: str
    user: str
    token: str
    namespace: str | None = None
    plugin: dict[str, Any] | None = None  # runs to fetch a token, in place of one


def load(path: str, context: str | None = None, *, field: str = "kubeconfig", trust: str = "") -> dict[str, Any]:
    """Return the chosen context as a kubeconfig with one cluster, one user and inline credentials.

    If `trust` is given, the file may come from someone else, and must not refer to programs or files: the option of
    that name would allow it. Raise a TenantryError that names `field`.
    """
    file = Path(path).expanduser()
    return resolve(document(file, field), context, f"{field}: {path}", file.absolute().parent, trust)


def resolve(config: dict[str, Any], context: str | None, where: str, folder: Path, trust: str = "") -> dict[str, Any]:
    """Return the chosen context, as `load` does. Errors start with `where`, relative paths at `folder`."""
    chosen, entry = _context(config, context, where)
    cluster = dict(_named(config, "clusters", "cluster", entry.get("cluster"), where))
    user = dict(_named(config, "users", "user", entry.get("user"), where))
    for part, given in (("context", entry), ("cluster", cluster), ("user", user)):
        _check_fields(part, given, where)
    _check_cluster(cluster, where)
    if user.get("auth-provider"):
        raise TenantryError(f"{where}: auth-provider plugins were removed from Kubernetes. Use a token")
    if trust:
        _check_foreign(cluster, user, where, trust)
    if user.get("exec"):
        user = _run_plugin(user["exec"], folder, where)
    _inline(cluster, _CLUSTER_FILES, folder, where)
    _inline(user, _USER_FILES, folder, where)
    _check_user(user, folder, where)
    namespace = entry.get("namespace")
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": chosen,
        "contexts": [
            {
                "name": chosen,
                "context": {"cluster": chosen, "user": chosen, **({"namespace": namespace} if namespace else {})},
            }
        ],
        "clusters": [{"name": chosen, "cluster": cluster}],
        "users": [{"name": chosen, "user": user}],
    }


def server(config: dict[str, Any], context: str | None, where: str) -> str:
    """Return the address of the chosen context. Raise a TenantryError that starts with `where`."""
    _chosen, entry = _context(config, context, where)
    return str(_named(config, "clusters", "cluster", entry.get("cluster"), where).get("server"))


def build(contexts: list[KubeContext], current: str) -> dict[str, Any]:
    """Return a kubeconfig with these contexts. Cluster and user entries have the context's name."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "contexts": [
            {
                "name": c.name,
                "context": {"cluster": c.name, "user": c.name, **({"namespace": c.namespace} if c.namespace else {})},
            }
            for c in contexts
        ],
        "clusters": [
            {"name": c.name, "cluster": {"server": c.server, "certificate-authority-data": c.ca_data_b64}}
            for c in contexts
        ],
        "users": [{"name": c.name, "user": {"exec": c.plugin} if c.plugin else {"token": c.token}} for c in contexts],
    }


def secrets(config: dict[str, Any]) -> set[str]:
    """Return the values of a kubeconfig that no output may show."""
    found = {user["user"].get(key) for user in config["users"] for key in ("token", "client-key-data")}
    return {value for value in found if value}


def as_text(config: dict[str, Any]) -> str:
    """Return the content of its file."""
    return yaml.safe_dump(config, sort_keys=False)


def write(path: str, config: dict[str, Any], *, check: bool = False, field: str = "kubeconfig_path") -> bool:
    """Write the file, readable by its owner only. Return whether content or mode change; `check` writes nothing.

    Raise a TenantryError that names `field`.
    """
    file = Path(path).expanduser()
    if is_directory(file):
        raise TenantryError(f"{field}: {path} is a directory. Name a file in it")
    if read_back(path) == config and stat.S_IMODE(file.stat().st_mode) == 0o600:
        return False
    if not check:
        put(file, as_text(config), field)
    return True


def put(file: Path, text: str, field: str) -> None:
    """Write a text as `write_private` does. Raise a TenantryError that names `field`."""
    try:
        write_private(file, text)
    except OSError as error:
        raise TenantryError(
            f"{field}: cannot write {file}: {error.strerror}. Choose a path this user may write"
        ) from None


def remove(file: Path, field: str) -> None:
    """Delete the file if it exists. Raise a TenantryError that names `field`."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise TenantryError(f"{field}: cannot delete {file}: {error.strerror}. Delete it by hand") from None


def is_directory(path: Path) -> bool:
    """Return whether the path is a directory. False if this user may not know: to open it gives the reason."""
    try:
        return path.is_dir()
    except OSError:
        return False


def read_back(path: str) -> dict[str, Any] | None:
    """Return what `write()` wrote, or None if there is no kubeconfig."""
    try:
        return mapping(Path(path).expanduser().read_bytes())
    except OSError:
        return None


def mapping(text: str | bytes) -> dict[str, Any] | None:
    """Return the mapping that a YAML text holds, or None for any other text.

    It never raises: PyYAML's errors, of any type, quote the text, which may be a secret.
    """
    try:
        found = yaml.safe_load(text)
    except Exception:  # pylint: disable=broad-except
        return None
    return found if isinstance(found, dict) else None


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically: readers see the old content or the new, whatever the umask."""
    folder = path.absolute().parent
    make_private(folder)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")  # 0600 whatever the umask
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def make_private(folder: Path) -> None:
    """
    Create the directory and missing parents with mode 0700. mkdir(parents=True) would ignore the mode for parents.
    """
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(0o700)
    except FileExistsError:  # a run at the same time was faster
        return
    folder.chmod(0o700)


def document(path: Path, field: str) -> dict[str, Any]:
    """Return the content of a kubeconfig file, not checked yet. Raise a TenantryError that names `field`."""
    if is_directory(path):
        raise TenantryError(f"{field}: {path} is a directory. Name the kubeconfig file in it")
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise TenantryError(
            f"{field}: cannot read {path}: {error.strerror}. Use a kubeconfig this user may read"
        ) from None
    if len(raw) > LARGEST_FILE:
        raise TenantryError(f"{field}: {path} is larger than {LARGEST_FILE // 1024} KiB. Use a kubeconfig file")
    try:
        config = yaml.safe_load(raw)
    except Exception as error:  # pylint: disable=broad-except
        # PyYAML quotes the offending text, which may be a credential, in errors of any type: say only where it is.
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise TenantryError(f"{field}: {path} is not YAML{place}. Use a kubeconfig file") from None
    return check_shape(config, f"{field}: {path}")


def check_shape(config: Any, where: str) -> dict[str, Any]:
    """Return a kubeconfig. Raise a TenantryError that starts with `where` for anything else."""
    if not isinstance(config, dict) or not isinstance(config.get("clusters"), list):
        raise TenantryError(f"{where} is not a kubeconfig (it has no list of clusters). Use a kubeconfig")
    return config


def _context(config: dict[str, Any], wanted: str | None, where: str) -> tuple[str, dict[str, Any]]:
    name = wanted or config.get("current-context")
    if not name:
        raise TenantryError(f"{where} has no current-context. Set context to one of: {_names(config, 'contexts')}")
    return name, _named(config, "contexts", "context", name, where)


def _named(config: dict[str, Any], section: str, key: str, name: object, where: str) -> dict[str, Any]:
    entries = config.get(section)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(key), dict):
            return entry[key]
    known = _names(config, section)
    hint = did_you_mean(name, known.split(", "))
    raise TenantryError(f"{where} has no {key} {shown(name)}{hint}; it has: {known}")


def _names(config: dict[str, Any], section: str) -> str:
    entries = config.get(section)
    found = [str(e.get("name")) for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    return ", ".join(found) or "none"


def _check_fields(part: str, given: dict[str, Any], where: str) -> None:
    unknown = sorted(str(field) for field in given.keys() - _FIELDS[part] if given[field])
    if not unknown:
        return
    remedy = "remove it"
    if unknown[0] in _IMPERSONATION:
        remedy = "impersonation is not supported, so give a kubeconfig with that user's own credential"
    elif unknown[0] in ("username", "password"):
        remedy = "Kubernetes has no passwords any more, so give a token or a client certificate"
    raise TenantryError(f"{where}: the {part} has {unknown[0]}, which is not supported; {remedy}")


def _check_cluster(cluster: dict[str, Any], where: str) -> None:
    server = cluster.get("server")
    try:
        address = urlsplit(server if isinstance(server, str) else "")
        valid = address.scheme == "https" and bool(address.hostname) and (address.port is None or address.port > 0)
        valid = valid and "@" not in address.netloc
    except ValueError:
        valid = False
    if not valid and "@" in str(server):  # which may follow a password
        raise TenantryError(f"{where}: server has a user in its address. Write https://HOST:PORT, and give a token")
    if not valid:
        raise TenantryError(
            f"{where}: server {shown(server)} is not an https:// address; credentials go over TLS only. "
            "Start it with https://"
        )
    if cluster.get("proxy-url"):
        check_proxy(cluster["proxy-url"], f"{where}: proxy-url")
    if cluster.get("insecure-skip-tls-verify"):
        raise TenantryError(
            f"{where}: insecure-skip-tls-verify is set. Remove it and give the cluster's certificate-authority-data"
        )


def _check_foreign(cluster: dict[str, Any], user: dict[str, Any], where: str, trust: str) -> None:
    if user.get("exec"):
        raise TenantryError(
            f"{where}: the user runs a program (exec). If the file is your own, set {trust}: true. Otherwise use a "
            "kubeconfig with a token or a client certificate inline"
        )
    references = [*_CLUSTER_FILES.values(), *_USER_FILES.values(), "tokenFile"]
    for reference in references:
        if cluster.get(reference) or user.get(reference):
            raise TenantryError(
                f"{where}: {reference} refers to another file. If the kubeconfig is your own, set {trust}: true. "
                "Otherwise embed it with `kubectl config view --raw --flatten`"
            )


def _check_user(user: dict[str, Any], folder: Path, where: str) -> None:
    if user.get("tokenFile") and not user.get("token"):
        user["token"] = _read(user["tokenFile"], folder, "tokenFile", where).decode(errors="replace").strip()
    user.pop("tokenFile", None)
    if user.get("token"):
        user["token"] = _one_line(user["token"], where)
    certificate, key = user.get("client-certificate-data"), user.get("client-key-data")
    if bool(certificate) != bool(key):
        raise TenantryError(f"{where}: a client certificate needs both its certificate and its key. Set both")
    if not user.get("token") and not certificate:
        raise TenantryError(f"{where}: the user has neither a token nor a client certificate. Set one")


def _one_line(token: object, where: str) -> str:
    """Remove a trailing line break, which editors add. A header cannot contain others."""
    text = token.strip() if isinstance(token, str) else ""
    if not text or any(not " " < letter <= "~" for letter in text):
        raise TenantryError(f"{where}: the token is not one line of printable characters. Replace it")
    return text


def _inline(entry: dict[str, Any], files: dict[str, str], folder: Path, where: str) -> None:
    """Replace paths of files with their content, and check that PEM is PEM."""
    for field, reference in files.items():
        if entry.get(reference) and not entry.get(field):
            content = _read(entry[reference], folder, reference, where)
            entry[field] = base64.b64encode(content).decode()
        entry.pop(reference, None)
        if isinstance(entry.get(field), str):
            entry[field] = "".join(entry[field].split())  # some tools wrap its lines
        if entry.get(field) and not _is_pem(entry[field]):
            raise TenantryError(f"{where}: {field} is not base64 of a PEM block. Write the kubeconfig again")


def _is_pem(value: Any) -> bool:
    try:
        return b"-----BEGIN " in base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return False


def _read(path: object, folder: Path, field: str, where: str) -> bytes:
    """Return the content of a file that the kubeconfig refers to. As for kubectl, ~ has no meaning in its path."""
    try:
        with (folder / str(path)).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise TenantryError(f"{where}: {field}: cannot read {path}: {error.strerror}. Correct the path") from None
    if len(content) > LARGEST_FILE:
        raise TenantryError(f"{where}: {field}: {path} is larger than {LARGEST_FILE // 1024} KiB. Correct the path")
    return content


def _run_plugin(plugin: Any, folder: Path, where: str) -> dict[str, Any]:
    """Run an exec plugin (EKS, GKE, AKS), and return its credential as static fields."""
    command = plugin.get("command") if isinstance(plugin, dict) else None
    try:
        status = ExecProvider(ConfigNode("exec", plugin), str(folder)).run()
    except (ConfigException, OSError, TypeError, AttributeError) as error:
        raise TenantryError(
            f"{where}: the credential plugin {shown(command)} failed: {one_line(error)}. Run it by hand to see why"
        ) from None
    pem = {"client-certificate-data": "clientCertificateData", "client-key-data": "clientKeyData"}
    user = {field: encoded(status[name]) for field, name in pem.items() if status.get(name)}
    return {**user, **({"token": status["token"]} if status.get("token") else {})}
