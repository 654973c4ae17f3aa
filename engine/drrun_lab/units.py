"""The systemd units and settings of etcd and of the control plane, as text.

Everything here is a pure function of a layout and a host in it.
"""

from __future__ import annotations

from drrun_lab.layout import LabHost, Layout
from drrun_lab.release import Release

PKI = "/etc/kubernetes/pki"
_SERVICES = "10.96.0.0/12"
_ENCRYPTION = "/etc/kubernetes/encryption.yaml"

ETCD = """\
[Unit]
Description=etcd key-value store
Documentation=https://etcd.io/docs
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
User=etcd
Group=etcd
EnvironmentFile=/etc/default/etcd
ExecStart=/usr/local/bin/etcd
Restart=always
RestartSec=2
LimitNOFILE=65536
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def etcd_settings(layout: Layout, host: LabHost) -> str:
    """/etc/default/etcd of one member of a new cluster, or of a spare that knows of it."""
    members = ",".join(f"{m.name}=https://{m.address}:2380" for m in layout.members)
    values = {
        "NAME": host.name,
        "DATA_DIR": "/var/lib/etcd",
        "INITIAL_CLUSTER": members,
        "INITIAL_CLUSTER_STATE": "existing" if host.role == "spare" else "new",
        "INITIAL_CLUSTER_TOKEN": layout.name,
        "INITIAL_ADVERTISE_PEER_URLS": f"https://{host.address}:2380",
        "LISTEN_PEER_URLS": f"https://{host.address}:2380",
        "LISTEN_CLIENT_URLS": f"https://127.0.0.1:2379,https://{host.address}:2379",
        "ADVERTISE_CLIENT_URLS": f"https://{host.address}:2379",
        "LISTEN_METRICS_URLS": "http://127.0.0.1:2381",
        "CERT_FILE": f"{PKI}/etcd/server.crt",
        "KEY_FILE": f"{PKI}/etcd/server.key",
        "TRUSTED_CA_FILE": f"{PKI}/etcd/ca.crt",
        "CLIENT_CERT_AUTH": "true",
        "PEER_CERT_FILE": f"{PKI}/etcd/peer.crt",
        "PEER_KEY_FILE": f"{PKI}/etcd/peer.key",
        "PEER_TRUSTED_CA_FILE": f"{PKI}/etcd/ca.crt",
        "PEER_CLIENT_CERT_AUTH": "true",
    }
    return "".join(f'ETCD_{name}="{value}"\n' for name, value in values.items())


def kube_apiserver(layout: Layout, host: LabHost) -> str:
    """The API server's unit. It knows all members of etcd, the host's own first."""
    members = sorted(layout.members, key=lambda member: member.name != host.name)
    flags = {
        "advertise-address": host.address,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{PKI}/ca.crt",
        "enable-admission-plugins": "NodeRestriction",
        "encryption-provider-config": _ENCRYPTION,
        "etcd-cafile": f"{PKI}/etcd/ca.crt",
        "etcd-certfile": f"{PKI}/apiserver-etcd-client.crt",
        "etcd-keyfile": f"{PKI}/apiserver-etcd-client.key",
        "etcd-servers": ",".join(f"https://{member.address}:2379" for member in members),
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet-client.key",
        "proxy-client-cert-file": f"{PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy-client.key",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        # A stop waits this long for clients that watch, by default a minute.
        "request-timeout": "10s",
        "secure-port": "6443",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{PKI}/sa.pub",
        "service-account-signing-key-file": f"{PKI}/sa.key",
        "service-cluster-ip-range": _SERVICES,
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
    }
    # Collecting garbage less often takes a third off the time of a start, for 170 MB of memory.
    environment = "Environment=GOGC=400\n"
    return _kube_unit(
        "kube-apiserver", flags, kind="notify", after="etcd.service", environment=environment
    )


def kube_controller_manager(layout: Layout) -> str:
    """The controller manager's unit.

    It hands out no pod networks: the lab has no nodes, and that controller alone holds up all
    later ones for ten seconds at each start.
    """
    flags = {
        **_client_flags("controller-manager", layout),
        "client-ca-file": f"{PKI}/ca.crt",
        "cluster-name": layout.name,
        "cluster-signing-cert-file": f"{PKI}/ca.crt",
        "cluster-signing-key-file": f"{PKI}/ca.key",
        "controllers": "*,bootstrapsigner,tokencleaner",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "root-ca-file": f"{PKI}/ca.crt",
        "service-account-private-key-file": f"{PKI}/sa.key",
        "service-cluster-ip-range": _SERVICES,
        "use-service-account-credentials": "true",
    }
    return _kube_unit("kube-controller-manager", flags, after="kube-apiserver.service")


def kube_scheduler(layout: Layout) -> str:
    """The scheduler's unit."""
    flags = _client_flags("scheduler", layout)
    return _kube_unit("kube-scheduler", flags, after="kube-apiserver.service")


def encryption(secret: str) -> str:
    """The API server's encryption of Secrets at rest: one key, the same on all hosts."""
    return f"""\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc:
      keys:
      - {{name: key1, secret: {secret}}}
  - identity: {{}}
"""


def haproxy(layout: Layout) -> str:
    """The load balancer of the API servers: asks /readyz each second, hangs up on the unready."""
    servers = "".join(f"  server {m.name} {m.address}:6443\n" for m in layout.members)
    return f"""\
global
  log stderr local0
  stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
frontend api
  bind *:6443
  default_backend control_plane
backend control_plane
  option httpchk GET /readyz
  balance roundrobin
  default-server check check-ssl verify none inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}"""


def _client_flags(component: str, layout: Layout) -> dict[str, str]:
    config = f"/etc/kubernetes/{component}.conf"
    return {
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "kubeconfig": config,
        "bind-address": "127.0.0.1",
        "leader-elect": "true",
        **Release.of(layout.spec).controller_flags,
    }


def _kube_unit(
    name: str, flags: dict[str, str], *, after: str, kind: str = "simple", environment: str = ""
) -> str:
    words = "".join(f" \\\n  --{flag}={value}" for flag, value in flags.items())
    return f"""\
[Unit]
Description={name}
Documentation=https://kubernetes.io/docs
After=network-online.target {after}
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type={kind}
{environment}ExecStart=/usr/local/bin/{name}{words}
Restart=always
RestartSec=2
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
