"""The lab's remaining pure parts: keys of cached work, versions, checksums, addresses, kubeconfigs."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from tenantry_lab import cluster, golang, machines, network, release, rootfs, ssh, syncer
from tenantry_lab.config import Lab, LabError
from tenantry_lab.process import cached, digest, tree_digest


def test_cached_work_is_done_once_per_key_and_again_after_a_failure(tmp_path: Path) -> None:
    result = tmp_path / "result"
    calls: list[str] = []

    def make() -> None:
        calls.append("make")
        result.touch()

    def fail() -> None:
        raise LabError("no")

    assert cached(result, "a", make, "t")
    assert not cached(result, "a", make, "t")
    assert cached(result, "b", make, "t")
    with pytest.raises(LabError):
        cached(result, "c", fail, "t")
    assert cached(result, "b", make, "t"), "after a failure the old result is not taken for good"
    assert len(calls) == 3


def test_key_tells_where_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_tree_key_follows_content_name_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a")
    keys = [tree_digest(tmp_path)]
    file.write_text("b")
    keys.append(tree_digest(tmp_path))
    file.chmod(0o755)
    keys.append(tree_digest(tmp_path))
    file.rename(tmp_path / "other")
    keys.append(tree_digest(tmp_path))
    assert len(set(keys)) == 4


def test_tree_key_does_not_change_when_python_has_run_there(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("a = 1")
    before = tree_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"compiled")
    assert tree_digest(tmp_path) == before


def test_go_versions_compare_as_numbers() -> None:
    assert golang.required_version("module x\n\ngo 1.24.0\n") == (1, 24, 0)
    assert golang.required_version("go 1.9\n") < (1, 24, 0)


def test_kubernetes_knows_its_version() -> None:
    assert golang.version_flags("v1.34.4+lab2") == (
        "-X k8s.io/component-base/version.gitVersion=v1.34.4+lab2",
        "-X k8s.io/component-base/version.gitMajor=1",
        "-X k8s.io/component-base/version.gitMinor=34",
        "-X k8s.io/component-base/version.gitCommit=lab",
    )


def test_checksum_lines_are_read_as_they_are_written_and_as_sha256sum_writes_them() -> None:
    text = release.checksum_line("aa", "k3s") + "bb *k3s-images.txt\n\n"
    assert release.read_checksums(text) == {"k3s": "aa", "k3s-images.txt": "bb"}


def test_kubeconfig_names_the_machine_instead_of_the_loopback() -> None:
    text = "server: https://127.0.0.1:6443\nname: default\n"
    assert cluster.reachable(text, "10.213.0.12") == "server: https://10.213.0.12:6443\nname: default\n"


def test_known_hosts_line_has_no_comment() -> None:
    assert ssh.known_host("10.213.0.11", "ssh-ed25519 AAAA who@where\n") == "10.213.0.11 ssh-ed25519 AAAA\n"


def test_network_card_is_locally_administered_and_of_the_address() -> None:
    assert network.card(IPv4Address("10.213.0.11")) == "02:00:0a:d5:00:0b"


def test_free_addresses_run_out_with_a_clear_line() -> None:
    lab = Lab.from_environment({})
    assert str(machines.free_address(lab, {"10.213.0.11", "10.213.0.21"})) == "10.213.0.22"
    with pytest.raises(LabError, match=r"no address is left in 10\.213\.0\.0/24"):
        machines.free_address(lab, {str(address) for address in lab.subnet})


def test_both_root_file_systems_have_what_k3s_takes_from_the_machine() -> None:
    for root in (rootfs.MACHINE, rootfs.K3S_IMAGE):
        include = next(word for word in root.arguments(Path("x"), "m", "s") if word.startswith("--include="))
        assert set(rootfs.K3S_NEEDS) <= set(include.removeprefix("--include=").split(","))


def test_what_is_only_unpacked_gets_its_hooks_when_it_is_unpacked() -> None:
    for root, option in ((rootfs.MACHINE, "--customize-hook="), (rootfs.SYNCER_IMAGE, "--extract-hook=")):
        hooks = [word for word in root.arguments(Path("x"), "m", "s") if "-hook=" in word]
        assert hooks
        assert all(word.startswith(option) for word in hooks)


def test_syncer_is_of_the_collections_version() -> None:
    galaxy = (syncer.PROJECT / "galaxy.yml").read_text()
    name, _colon, version = syncer.image_name().rpartition(":")
    assert name == "docker.io/lab/syncer"
    assert f"version: {version}\n" in galaxy


def test_libraries_of_the_syncer_are_pinned() -> None:
    lines = (syncer.SOURCE / "requirements.txt").read_text().splitlines()
    names = {name: version for name, _equal, version in (line.partition("==") for line in lines if line[0] != "#")}
    assert set(names) == {"aiohttp", "cryptography", "h11"}
    assert all(names.values())
    locked = re.split(r"\n(?=\w)", (syncer.SOURCE / "requirements.lock").read_text())[1:]
    versions = dict(one.split()[0].split("==") for one in locked)
    assert names.items() <= versions.items(), "the image has what the tests have"
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}$", one, re.MULTILINE) for one in locked)
