"""Where the API server is and who we are to it: from inside a pod, or from a kubeconfig file.

Nothing is asked of the network here. What a kubeconfig can say that would run programs (`exec`, auth providers) is
refused: an agent on a node has a service account.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from weave.errors import LocalError
from weave.kube.resource import mapping, sequence, text

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """One API server and our credentials."""

    server: str
    """`https://host:port`, without a path's end."""
    authority: str | None
    """Certificates of the authorities in PEM; None: those of the system."""
    token_file: Path | None = None
    """Read again when it changes: tokens of service accounts live for an hour."""
    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    """Our client certificate and its key in PEM, both or neither."""
    key: str = field(default="", repr=False)
    server_name: str | None = None
    """The name the server's certificate is for, where it is not the host's."""


def discover(environ: Mapping[str, str], kubeconfig: Path | None = None) -> ApiConfig:
    """Return the configuration of a kubeconfig that was named, else that of the pod we run in."""
    named = kubeconfig or (Path(environ["KUBECONFIG"]) if environ.get("KUBECONFIG") else None)
    if named is not None:
        return from_kubeconfig(_read(named), named.parent)
    return in_cluster(environ)


def in_cluster(environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> ApiConfig:
    """Return the configuration that Kubernetes gives every pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise LocalError("this is no pod (KUBERNETES_SERVICE_HOST is not set); name a kubeconfig with --kubeconfig")
    bracketed = f"[{host}]" if ":" in host else host
    return ApiConfig(f"https://{bracketed}:{port}", _read(account / "ca.crt"), account / "token")


def from_kubeconfig(content: str, directory: Path, context: str | None = None) -> ApiConfig:
    """Return the configuration of a context of a kubeconfig, its current one by default."""
    try:
        document = mapping(yaml.safe_load(content))
    except yaml.YAMLError as exc:
        raise LocalError(f"the kubeconfig is no YAML: {exc}") from exc
    chosen = _named(document, "contexts", "context", context or text(document.get("current-context")))
    cluster = _named(document, "clusters", "cluster", text(chosen.get("cluster")))
    user = _named(document, "users", "user", text(chosen.get("user")))
    server = text(cluster.get("server")).rstrip("/")
    if not server.startswith("https://"):
        raise LocalError(f"the kubeconfig's server {server!r} should begin with https://")
    if cluster.get("insecure-skip-tls-verify"):
        raise LocalError("the kubeconfig says insecure-skip-tls-verify; give the authority's certificate instead")
    if "exec" in user or "auth-provider" in user:
        raise LocalError("the kubeconfig gets its credentials from a program; use one with a token or a certificate")
    token_file = text(user.get("tokenFile"))
    certificate, key = (_material(user, name, directory) or "" for name in ("client-certificate", "client-key"))
    if bool(certificate) != bool(key):
        raise LocalError("the kubeconfig has only one of client certificate and key")
    return ApiConfig(server, _material(cluster, "certificate-authority", directory),
                     directory / token_file if token_file else None, text(user.get("token")), certificate, key,
                     text(cluster.get("tls-server-name")) or None)


def _named(document: Mapping[str, object], section: str, kind: str, name: str) -> Mapping[str, object]:
    for entry in sequence(document.get(section)):
        if mapping(entry).get("name") == name and name:
            return mapping(mapping(entry).get(kind))
    raise LocalError(f"the kubeconfig has no {kind} {name!r}")


def _material(section: Mapping[str, object], name: str, directory: Path) -> str | None:
    """Return PEM that is given inline or as the path of a file."""
    inline = text(section.get(f"{name}-data"))
    if inline:
        try:
            return base64.b64decode(inline, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise LocalError(f"{name}-data of the kubeconfig is not base64 of PEM") from exc
    path = text(section.get(name))
    return _read(directory / path) if path else None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise LocalError(f"cannot read {os.fspath(path)}: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise LocalError(f"{os.fspath(path)} is larger than {MAX_FILE_BYTES} octets")
    return data.decode("utf-8", "replace")
