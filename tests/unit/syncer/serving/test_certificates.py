"""Serving certificates. A fake of the CertificateSigningRequest API signs them."""

from __future__ import annotations

import asyncio
import base64
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tenantry_syncer import __main__
from tenantry_syncer.serving import certificates
from tenantry_syncer.serving.certificates import CertificateError, renew, serving_context, until_renewal

from ..authority import SERVER, Authority

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
ADDRESS = "127.0.0.1"


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


class SigningApi:
    """Stores signing requests and signs approved ones by the rules of kubernetes.io/kubelet-serving."""

    def __init__(self, authority: Authority, lifetime=timedelta(hours=1), answer_after: int = 2) -> None:
        self.authority = authority
        self.lifetime = lifetime
        self.answer_after = answer_after
        self.objects: dict[str, dict] = {}
        self.issued: list[x509.Certificate] = []
        self.reads = 0
        self.verdict: dict | None = None

    async def create(self, path, body):
        assert path == REQUESTS
        assert (body["apiVersion"], body["kind"]) == ("certificates.k8s.io/v1", "CertificateSigningRequest")
        name = f"{body['metadata']['generateName']}{len(self.objects)}"
        stored = {**body, "metadata": {"name": name, "resourceVersion": "1"}}
        self.objects[f"{path}/{name}"] = stored
        return {**stored, "metadata": dict(stored["metadata"])}

    async def replace(self, path, body):
        stored = self.objects[path.removesuffix("/approval")]
        assert path.endswith("/approval")
        assert body["metadata"] == stored["metadata"]
        stored["status"] = body["status"]
        return stored

    async def get(self, path):
        self.reads += 1
        stored = self.objects[path]
        if self.verdict:
            stored["status"]["conditions"].append(self.verdict)
        elif self.reads >= self.answer_after:
            self._sign(stored)
        return stored

    async def delete(self, path):
        return self.objects.pop(path, None) is not None

    def _sign(self, stored):
        assert [(c["type"], c["status"]) for c in stored["status"]["conditions"]] == [("Approved", "True")]
        assert stored["spec"]["signerName"] == "kubernetes.io/kubelet-serving"
        assert set(stored["spec"]["usages"]) == {"digital signature", "server auth"}
        csr = x509.load_pem_x509_csr(base64.b64decode(stored["spec"]["request"]))
        organizations = csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert [attribute.value for attribute in organizations] == ["system:nodes"]
        assert csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:tenantry-syncer"
        assert isinstance(csr.public_key(), ec.EllipticCurvePublicKey)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {type(name) for name in names} <= {x509.DNSName, x509.IPAddress}
        pem = self.authority.sign(csr.subject, csr.public_key(), SERVER, names, self.lifetime)
        self.issued.append(x509.load_pem_x509_certificate(pem.encode()))
        stored["status"]["certificate"] = base64.b64encode(pem.encode()).decode()


@pytest.fixture
def authority(tmp_path):
    (tmp_path / "ca").mkdir()
    return Authority(tmp_path / "ca")


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "private").mkdir()
    return tmp_path / "private"


async def certificate_of(context, authority, client) -> bytes:
    """Return the certificate that a server with this context presents to a client that verifies it for 127.0.0.1."""
    seen = asyncio.Queue()

    async def serve(_reader, writer):
        seen.put_nowait(writer.get_extra_info("peercert"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert (await seen.get())["subject"] == ((("commonName", "system:apiserver"),),)
    writer.close()
    server.close()
    return shown


def test_serving_context_verifies_for_api_server(authority, directory):
    api = SigningApi(authority)

    async def scenario():
        context, expires = await serving_context(api, authority.pem, ADDRESS, directory)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert expires == api.issued[0].not_valid_after_utc
        client = authority.client_context(authority.issue("system:apiserver"))
        shown = await certificate_of(context, authority, client)
        assert x509.load_der_x509_certificate(shown) == api.issued[0]

    run(scenario())
    assert api.objects == {}, "the signing request is deleted"
    assert list(directory.iterdir()) == [], "the key is not left on the disk"


def test_renew_updates_context_in_use(authority, directory):
    api = SigningApi(authority)

    async def scenario():
        context, _expires = await serving_context(api, authority.pem, ADDRESS, directory)
        expires = await renew(api, context, ADDRESS, directory)
        first, second = api.issued
        assert expires == second.not_valid_after_utc
        assert first.public_key() != second.public_key()
        client = authority.client_context(authority.issue("system:apiserver"))
        shown = await certificate_of(context, authority, client)
        assert x509.load_der_x509_certificate(shown) == second

    run(scenario())


def test_keep_renewed_retries_failures(authority, directory, monkeypatch, caplog):
    api = SigningApi(authority, answer_after=1)
    ends = []
    renewed = asyncio.Event()

    def soon(expires):
        ends.append(expires)
        if len(api.issued) < 3:
            return 0
        renewed.set()
        return 3600

    monkeypatch.setattr(certificates, "RETRY", 0.01)
    monkeypatch.setattr(certificates, "until_renewal", soon)

    async def scenario():
        context, expires = await serving_context(api, authority.pem, ADDRESS, directory)
        api.verdict = {"type": "Failed", "reason": "SignerValidationFailure", "message": "not today"}
        api.lifetime += timedelta(hours=1)
        task = asyncio.create_task(certificates.keep_renewed(api, context, ADDRESS, directory, expires))
        while "not today" not in caplog.text:
            await asyncio.sleep(0.01)
        api.verdict = None
        await renewed.wait()
        task.cancel()

    run(scenario())
    assert (ends[0], ends[-1]) == (api.issued[0].not_valid_after_utc, api.issued[-1].not_valid_after_utc)


def test_until_renewal_is_two_thirds_of_lifetime():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert until_renewal(now + timedelta(hours=3), now) == 2 * 3600
    assert until_renewal(now - timedelta(hours=3), now) == certificates.MIN_RENEWAL_DELAY


@pytest.mark.parametrize("kind", ["Denied", "Failed"])
def test_issue_denied_gives_reason(authority, directory, kind):
    api = SigningApi(authority)
    api.verdict = {"type": kind, "reason": "Policy", "message": "no kubelets here"}
    with pytest.raises(CertificateError, match=f"{kind}: Policy: no kubelets here"):
        run(serving_context(api, authority.pem, ADDRESS, directory))
    assert api.objects == {}


def test_issue_without_signer_times_out(authority, directory, monkeypatch):
    monkeypatch.setattr(certificates, "ISSUE_TIMEOUT", 0.2)
    api = SigningApi(authority, answer_after=10**9)
    with pytest.raises(CertificateError, match=r"no certificate within 0 s\. Check the signer"):
        run(serving_context(api, authority.pem, ADDRESS, directory))
    assert api.objects == {}


def test_load_key_file_is_private(authority, directory):
    modes = {}

    class Context:
        def load_cert_chain(self, file: Path) -> None:
            modes.update(file=stat.S_IMODE(file.stat().st_mode), directory=stat.S_IMODE(file.parent.stat().st_mode))

    run(renew(SigningApi(authority), Context(), ADDRESS, directory))
    assert modes == {"file": 0o600, "directory": 0o700}


def test_import_does_not_load_cryptography():
    code = "import sys, tenantry_syncer.serving.certificates; print('cryptography' in sys.modules)"
    package = Path(certificates.__file__).parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_child_failure_gives_reason():
    with pytest.raises(CertificateError, match=r"exit status 1: .*PEM"):
        run(certificates._child("expiry", data=b"nonsense"))


def test_main_accepts_two_tasks(capsys):
    assert certificates.main(["other"]) == 2
    assert "must be 'request ADDRESS' or 'expiry'" in capsys.readouterr().err


def test_trusted_cas_exclude_signer_of_tenants(tmp_path: Path) -> None:
    namespace, others = "guild--dev", Authority(tmp_path, "k3s-client-ca@1").pem
    platforms = client_ca.make(namespace)["ca.crt"]
    for bundle in (platforms + others, others + platforms, f"{platforms}\n\n{others}\n"):
        assert certificates.trusted_cas(bundle, f"{namespace} client").strip() == others.strip()
    for nothing in (platforms, "", "no certificate"):
        assert certificates.trusted_cas(nothing, f"{namespace} client") == ""
    assert certificates.trusted_cas(others + others, "another").count("BEGIN") == 2


@pytest.mark.parametrize("first", [True, False])
def test_serving_waits_for_trusted_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """At first, only the platform's CA or nothing may be published."""
    platforms, others = client_ca.make("guild--dev")["ca.crt"], Authority(tmp_path, "k3s-client-ca@1").pem
    early = {"data": {"client-ca-file": platforms}} if first else None
    answers = [early, early, {"data": {"client-ca-file": platforms + others}}]
    trusted: list[str] = []

    class Inside:
        async def get(self, _path: str) -> dict | None:
            return answers.pop(0)

    async def fake_context(_api: object, pem: str, *_rest: object) -> None:
        trusted.append(pem)
        raise asyncio.CancelledError

    monkeypatch.setattr(certificates, "serving_context", fake_context)
    config = SimpleNamespace(namespace="guild--dev", address=ADDRESS)
    context = SimpleNamespace(virtual=SimpleNamespace(api=Inside()), config=config)

    async def allowed() -> None:
        async with __main__._serving(context, "system:apiserver", "client-ca-file", None, 0, tmp_path):
            pass

    with pytest.raises(asyncio.CancelledError):
        run(allowed())
    assert [one.strip() for one in trusted] == [others.strip()]
