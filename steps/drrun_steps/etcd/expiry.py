"""Certificates of a member that are expired, or soon will be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.etcd.settings import SETTINGS


@dataclass(frozen=True, slots=True)
class EtcdCertificates(Fact[tuple[str, ...]]):
    """Certificates of this member that are expired or end within `hours`, in words (1.11)."""

    name: ClassVar[str] = "etcd.certificates"
    service: str = "etcd"
    hours: int = 0

    def about(self) -> tuple[str, ...]:
        """The certificate files."""
        return ("certificates",)

    def ask(self) -> Command:
        """Openssl where there is one; a host without it says so."""
        return sh(_CERTIFICATES, SERVICE=self.service, SECONDS=self.hours * 3600)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """One line a certificate that ends too soon."""
        return tuple(dict.fromkeys(line for line in reply.text.splitlines() if line))


_CERTIFICATES = (
    SETTINGS
    + r"""
command -v openssl >/dev/null || exit 0
for s in cert-file peer-cert-file trusted-ca-file peer-trusted-ca-file; do
  f=$(setting $s)
  [ -r "$f" ] || continue
  openssl x509 -in "$f" -noout -checkend "$SECONDS" >/dev/null 2>&1 && continue
  over=; openssl x509 -in "$f" -noout -checkend 0 >/dev/null 2>&1 || over=', expired'
  echo "$f: $(openssl x509 -in "$f" -noout -enddate 2>&1)$over"
done
true
"""
)


FACTS: tuple[type[Fact[Any]], ...] = (EtcdCertificates,)
