"""A client that keeps writing: how long nobody could is the outage.

Rule 1: the time of an outage is what a client saw, not what drrun says.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from drrun.errors import LabError
from drrun_lab.lab import Lab

_EVERY, _PATIENCE = 0.15, 1.5
"""Seconds between writes, and until one is given up."""
_PATH = "/api/v1/namespaces/default/configmaps"


@dataclass(frozen=True, slots=True)
class Write:
    """One attempt: when it began and ended, and the object that the API says it made."""

    began: datetime
    ended: datetime
    name: str = ""

    @property
    def taken(self) -> bool:
        """Whether the API acknowledged it."""
        return bool(self.name)


@dataclass
class Prober:
    """Writes a ConfigMap again and again while its block lasts."""

    lab: Lab
    address: str = ""
    """Whom it asks; the load balancer when empty."""
    writes: list[Write] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to write."""
        self._thread = threading.Thread(target=self._go, name="prober", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop writing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def back(self, since: datetime) -> datetime | None:
        """When the first write after the last refused one was taken. None while there is none.

        Only writes that ended after `since` count; with none refused it is the first of them.
        """
        found: datetime | None = None
        for write in tuple(self.writes):
            if write.ended < since:
                continue
            if not write.taken:
                found = None
            elif found is None:
                found = write.ended
        return found

    def gap(self) -> float:
        """The longest time, in seconds, between two acknowledged writes."""
        ends = [write.ended for write in self.writes if write.taken]
        return max(((b - a).total_seconds() for a, b in pairwise(ends)), default=0.0)

    def lost(self) -> list[str]:
        """Acknowledged writes that the cluster does not hold now. Raises LabError when it is mute."""
        told = self.lab.kubectl("get", "configmaps", "-l", "prober=true", "-o", "name", timeout=120)
        if told.returncode != 0:
            raise LabError(f"the writes cannot be read: {told.stderr.strip()}")
        held = {line.rpartition("/")[2] for line in told.stdout.splitlines()}
        return [write.name for write in self.writes if write.taken and write.name not in held]

    def _go(self) -> None:
        context = client_context(self.lab)
        while not self._stop.is_set():
            began = datetime.now(UTC)
            name = self._write(context, began)
            self.writes.append(Write(began, datetime.now(UTC), name))
            self._stop.wait(_EVERY)

    def _write(self, context: ssl.SSLContext, now: datetime) -> str:
        """The acknowledged object's name, or nothing. A line of its own, as a new client's is."""
        line = http.client.HTTPSConnection(
            self.address or self.lab.haproxy_address, 6443, timeout=_PATIENCE, context=context
        )
        meta = {"generateName": "prober-", "labels": {"prober": "true"}}
        body = {"metadata": meta, "data": {"at": now.isoformat()}}
        try:
            line.request("POST", _PATH, json.dumps(body), {"Content-Type": "application/json"})
            answer = line.getresponse()
            told = answer.read()
            created = answer.status == http.client.CREATED
            return str(json.loads(told)["metadata"]["name"]) if created else ""
        except (OSError, http.client.HTTPException, ValueError):
            return ""
        finally:
            line.close()


def client_context(lab: Lab) -> ssl.SSLContext:
    """TLS as the lab's administrator, whose certificate is in its kubeconfig."""
    import yaml

    config = yaml.safe_load((lab.folder / "admin.conf").read_text())
    user = config["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(lab.folder / "ca.crt"))
    with tempfile.TemporaryDirectory() as folder:
        # ssl takes files only; they are gone as soon as they are read.
        crt, key = Path(folder, "crt"), Path(folder, "key")
        crt.write_bytes(base64.b64decode(user["client-certificate-data"]))
        key.write_bytes(base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(crt, key)
    return context
