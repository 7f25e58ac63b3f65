"""Writers that keep a ledger: what an API server has acknowledged must be there afterwards, whatever happens to it."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .harness import until

WRITERS = 4
LATE = 10  # seconds after which what is not listed is lost
# Of several servers each looks once a second for what the others wrote into their database.
SHARED_LAG = 2.0
LABEL = "tenantry-test/ledger"


class Ledger:
    """Config maps of several writers, each one after the other with the number of its turn; some are deleted."""

    def __init__(self, kubeconfig: Path, lag: float = 0) -> None:
        self._kubeconfig = kubeconfig
        self._lag = lag  # seconds in which a list may still lack what was acknowledged
        self._name = uuid.uuid4().hex[:8]  # another ledger of the same cluster is no concern of this one
        self._written: dict[str, float] = {}  # when it was acknowledged
        self._deleted: dict[str, float] = {}
        self._tried: set[str] = set()  # to write
        self._leaving: set[str] = set()  # or to delete, acknowledged or not
        self._turns = [0] * WRITERS
        self._end = threading.Event()

    @contextmanager
    def writing(self) -> Iterator[Ledger]:
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        self._end.clear()
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._end.set()
            for thread in threads:
                thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more writes were acknowledged."""
        target = len(self._written) + more
        while len(self._written) < target:
            time.sleep(0.05)

    def acknowledged(self, before: float = math.inf) -> set[str]:
        """What was written, acknowledged before that moment, and nobody tried to delete."""
        return {name for name, when in self._written.items() if when < before} - self._leaving

    def check(self, before: float = math.inf) -> set[str]:
        """What is there now: all that was acknowledged before that moment, nothing torn, deleted or made up."""
        found, missing, back = self._compared(before)
        end = time.monotonic() + self._lag
        while (missing or back) and time.monotonic() < end:
            found, missing, back = self._compared(before)
        assert not missing, f"{len(missing)} acknowledged writes {self._fate(missing)}, such as {sorted(missing)[:5]}"
        assert not back, f"{len(back)} deleted ones are back, such as {sorted(back)[:5]}"
        assert found <= self._tried, f"nobody wrote {sorted(found - self._tried)[:5]}"
        for number in range(WRITERS):
            writer = self._of(number)
            last = max(_turn(name) for name in found if name.startswith(writer))
            lost = {name for name in self.acknowledged() - found if name.startswith(writer)}
            torn = sorted(name for name in lost if _turn(name) < last)
            assert not torn, f"writer {number} wrote {torn[:5]} before turn {last}, which is there"
        return found

    def _compared(self, before: float) -> tuple[set[str], set[str], set[str]]:
        """What is there, what is missing of it, and what is there though it was deleted."""
        found = self.present(self._kubeconfig)
        deleted = {name for name, when in self._deleted.items() if when < before}
        return found, self.acknowledged(before) - found, found & deleted

    def _fate(self, missing: set[str]) -> str:
        """Of what a list lacks: lost, or listed too late, which is another fault."""
        try:
            until(lambda: missing <= self.present(self._kubeconfig), LATE)
        except AssertionError:
            return "are lost"
        return "were listed too late"

    def present(self, kubeconfig: Path) -> set[str]:
        """What this ledger's writers wrote and is there, in this cluster or in one that was restored from it."""
        found = _connect(kubeconfig).list("v1/ConfigMap", "default", f"{LABEL}={self._name}")
        assert all(one["data"]["turn"] == one["metadata"]["name"] for one in found)
        return {one["metadata"]["name"] for one in found}

    def _of(self, number: int) -> str:
        return f"{self._name}-w{number}-"

    def _write(self, number: int) -> None:
        cluster = _connect(self._kubeconfig)
        while not self._end.is_set():
            turn = self._turns[number]
            self._turns[number] += 1
            name = f"{self._of(number)}{turn}"
            metadata = {"name": name, "namespace": "default", "labels": {LABEL: self._name}}
            self._tried.add(name)
            try:
                cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"turn": name}})
                self._written[name] = time.monotonic()
                if turn % 3 == 0:
                    self._leaving.add(name)
                    cluster.delete("v1/ConfigMap", name, "default")
                    self._deleted[name] = time.monotonic()
            except Exception:  # not acknowledged, so nothing is claimed of it
                time.sleep(0.1)


def _turn(name: str) -> int:
    return int(name.rpartition("-")[2])


def _connect(kubeconfig: Path) -> Any:
    from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import client
    from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files

    return client.Cluster.from_kubeconfig(kubeconfig_files.load(str(kubeconfig)), name="ledger", timeout=30)
