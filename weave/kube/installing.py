"""Put the CNI plugin and its configuration on the node, whole or not at all, and nothing else.

The configuration goes last: by it the node becomes Ready, so it must not be there before pods can start. One that an
operator edited is kept; one that we wrote, in whatever version, is told by the seal over its content.
"""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from weave.errors import EnvironmentFailure
from weave.kube.files import read_file, remove_file, write_file

PLUGINS = ("weave-net", "weave-ipam")
CONFLIST = "10-weave.conflist"
PORTMAP = "portmap"
CNI_VERSION = "1.0.0"
CNI_VERSIONS = ("0.4.0", "1.0.0", "1.1.0")
"""A runtime that knows of this list takes the newest that it speaks, an older one the one above."""
CAPABILITIES = ("bandwidth", "ips", "mac", "dns", "aliases")
"""The newest that containerd 1.6 takes."""
SEAL = "weaveSeal"
POLICY_TABLE = ("bridge", "weave-npc")
NFT_DEADLINE_S = 20.0
EXECUTABLE = 0o755
READABLE = 0o644


@dataclass(frozen=True, slots=True)
class Places:
    """Where things come from and go to."""

    source: Path
    binaries: Path
    configuration: Path


def conflist(*, hairpin: bool, has_portmap: bool) -> str:
    """Return the configuration; `portmap` is chained where it is installed."""
    plugins: list[dict[str, object]] = [{
        "type": "weave-net", "hairpinMode": hairpin, "podNames": True,
        "capabilities": dict.fromkeys(CAPABILITIES, True)}]
    if has_portmap:
        plugins.append({"type": PORTMAP, "capabilities": {"portMappings": True}, "snat": True})
    document = {"cniVersion": CNI_VERSION, "cniVersions": CNI_VERSIONS, "name": "weave", "plugins": plugins}
    return json.dumps({**document, SEAL: _seal(document)}, indent=2) + "\n"


def install(places: Places, *, hairpin: bool) -> bool:
    """Install what is not there in this very form; say whether the configuration in place is our own."""
    content = read_file(places.source)
    if content is None:
        raise EnvironmentFailure(f"{places.source} is missing; the image is incomplete, or --cni-source names another "
                                 "place")
    for plugin in PLUGINS:
        _ensure(places.binaries / plugin, content, EXECUTABLE)
    path = places.configuration / CONFLIST
    before = read_file(path)
    if before is not None and not _is_ours(before):
        return False
    wanted = conflist(hairpin=hairpin, has_portmap=(places.binaries / PORTMAP).exists())
    _ensure(path, wanted.encode(), READABLE)
    return True


def withdraw(places: Places) -> bool:
    """Remove the configuration if it is ours; say whether it was there."""
    path = places.configuration / CONFLIST
    content = read_file(path)
    if content is None or not _is_ours(content):
        return False
    remove_file(path)
    return True


def policy_stands() -> bool:
    """Say whether the policy controller's table is in the kernel, which closes new pods until it knows them."""
    done = subprocess.run(["nft", "list", "table", *POLICY_TABLE], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False, timeout=NFT_DEADLINE_S)
    return done.returncode == 0


def _ensure(path: Path, content: bytes, mode: int) -> None:
    if read_file(path) != content:
        write_file(path, content, mode)


def _is_ours(content: bytes) -> bool:
    try:
        document = json.loads(content)
        return isinstance(document, dict) and document.pop(SEAL, None) == _seal(document)
    except (ValueError, RecursionError):
        return False


def _seal(document: object) -> str:
    """Return a digest of a configuration; runtimes skip a key that they do not know."""
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=8).hexdigest()
