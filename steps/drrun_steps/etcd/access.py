"""How to reach an etcd member on its own host: settings from its unit, and a clean etcdctl.

The prelude below is put before every question about etcd, behind the member's settings (`settings`).
An inventory var overrides each (`etcd_cacert`, …).
Rule 1: etcdctl runs with an empty environment: a proxy variable has sent it elsewhere before
(etcd#9763, #9412).
Rule 2: short timeouts: with quorum lost, `member list` hangs for 20 s by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from drrun.spi import Command, Fact, Group, Host, sh
from drrun_steps.etcd.settings import SETTINGS

T = TypeVar("T")

CLIENT = (
    SETTINGS
    + r"""
ca=${CACERT:-$(setting trusted-ca-file)}; crt=${CERT:-$(setting cert-file)}; key=${KEY:-$(setting key-file)}
ccrt=$crt; ckey=$key # what we show as a client; the member's own, where that may be a client's
says() { # FILE WORDS: whether a certificate says so; yes where nobody can read it
  command -v openssl >/dev/null && [ -r "$1" ] || return 0
  openssl x509 -in "$1" -noout -text 2>/dev/null | grep -q -e "$2"
}
if [ -z "$CERT" ] && [ -n "$crt" ] && ! says "$crt" 'TLS Web Client Authentication' && says "$crt" 'TLS Web Server Authentication'; then
  for pair in /etc/kubernetes/pki/apiserver-etcd-client /etc/kubernetes/pki/etcd/healthcheck-client \
    "${crt%/*}/healthcheck-client" "${crt%/*}/client" "${crt%/*}/root"; do
    if [ -r "$pair.crt" ] && [ -r "$pair.key" ]; then ccrt=$pair.crt; ckey=$pair.key; break; fi
    if [ -r "$pair.pem" ] && [ -r "$pair-key.pem" ]; then ccrt=$pair.pem; ckey=$pair-key.pem; break; fi
  done
fi
own=$ENDPOINT
if [ -z "$own" ]; then
  urls=$(setting listen-client-urls | tr ',' '\n')
  own=$(printf '%s\n' "$urls" | grep -e '//127\.' -e '//localhost' | head -n 1)
  [ -n "$own" ] || own=$(printf '%s\n' "$urls" | head -n 1 | sed -e 's,//0\.0\.0\.0,//127.0.0.1,' -e 's,//\[::\],//[::1],')
  [ -n "$own" ] || own=http://127.0.0.1:2379
  # A member that listens everywhere is asked at an address that its certificate is of.
  advertised=$(setting advertise-client-urls | cut -d , -f 1)
  case $urls in *//0.0.0.0:*|*'//[::]:'*)
    if [ -n "$crt" ] && [ -n "$advertised" ] && ! says "$crt" 'IP Address:127\.0\.0\.1\|IP Address:0:0:0:0:0:0:0:1'; then own=$advertised; fi ;;
  esac
fi
command -v etcdctl >/dev/null || { echo 'drrun: no etcdctl on this host' >&2; exit 127; }
limit=${LIMIT:-20}
ctl() {
  env -i PATH="$PATH" ETCDCTL_API=3 timeout "$limit" etcdctl ${ca:+--cacert="$ca"} ${ccrt:+--cert="$ccrt"} \
    ${ckey:+--key="$ckey"} --dial-timeout=2s "$@"
}
own() { ctl --endpoints="$own" --command-timeout="${WAIT:-3s}" "$@"; }
"""
)

FETCH = r"""
fetch() {
  if command -v curl >/dev/null; then
    env -i PATH="$PATH" curl -sSf -m 8 --noproxy '*' ${ca:+--cacert "$ca"} ${ccrt:+--cert "$ccrt"} ${ckey:+--key "$ckey"} "$1"
  elif command -v wget >/dev/null; then
    env -i PATH="$PATH" wget -q -T 8 -O - --no-proxy ${ca:+--ca-certificate="$ca"} \
      ${ccrt:+--certificate="$ccrt"} ${ckey:+--private-key="$ckey"} "$1"
  else echo 'neither curl nor wget on this host' >&2; return 1; fi
}
"""
"""After `CLIENT`: what etcd serves by plain HTTP, with the member's own certificates."""


@dataclass(frozen=True, slots=True)
class MemberFact(Fact[T], Generic[T]):
    """A question to the etcd member of a host. Empty arguments are found out on the host."""

    name: ClassVar[str] = "etcd.member-fact"
    service: str = "etcd"
    endpoint: str = ""
    cacert: str = ""
    cert: str = ""
    key_file: str = ""

    def _client(self, text: str, **env: object) -> Command:
        return sh(
            CLIENT + text,
            SERVICE=self.service,
            ENDPOINT=self.endpoint,
            CACERT=self.cacert,
            CERT=self.cert,
            KEY=self.key_file,
            **env,
        )


def overrides(host: Host, service: str) -> Mapping[str, str]:
    """What the inventory says about reaching the member of this host, else found out there."""
    names = {"endpoint": "endpoint", "cacert": "cacert", "cert": "cert", "key": "key_file"}
    said = {to: str(host.vars.get(f"etcd_{name}", "")) for name, to in names.items()}
    return {"service": service} | {name: value for name, value in said.items() if value}


def environment(host: Host, service: str) -> Mapping[str, str]:
    """The same, as the variables that the prelude `CLIENT` reads."""
    said = overrides(host, service)
    return {
        "SERVICE": service,
        "ENDPOINT": said.get("endpoint", ""),
        "CACERT": said.get("cacert", ""),
        "CERT": said.get("cert", ""),
        "KEY": said.get("key_file", ""),
    }


def ask_each(
    group: Group, hosts: Sequence[Host], fact: Callable[[Host], Fact[T]]
) -> Mapping[str, T]:
    """Every host's answer by name; asked at once where all hosts are asked the same."""
    facts = {host.name: fact(host) for host in hosts}
    if len({f.key for f in facts.values()}) == 1:
        return dict(group.read(next(iter(facts.values())), hosts))
    return {host.name: host.read(facts[host.name]) for host in hosts}
