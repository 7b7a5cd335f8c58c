"""Put the CNI plugin and its configuration on the node, whole or not at all, and nothing else.

The configuration goes last: by it the node becomes Ready, so it must not be there before pods can start. One that an
operator edited is kept; one that we wrote, in whatever version, is told by the seal over its content.
"""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weave.cni.versions import VERSIONS
from weave.errors import EnvironmentFailure
from weave.kube import portmap
from weave.kube.files import read_file, remove_file, write_file

PLUGINS = ("weave-net", "weave-ipam")
CONFLIST = "10-weave.conflist"
CNI_VERSION = "1.0.0"
CNI_VERSIONS = ("0.4.0", "1.0.0", "1.1.0")
"""A runtime that knows of this list takes the newest that it speaks, an older one the one above; what a plugin that is
chained does not know is left out."""
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


def conflist(*, hairpin: bool, portmap_knows: Sequence[str] | None) -> str:
    """Return the configuration; `portmap` is chained where it is installed.

    It may know nothing because it could not be asked. Then it gets the version without a choice, as it did before there
    was one.
    """
    plugins: list[dict[str, object]] = [{
        "type": "weave-net", "hairpinMode": hairpin, "podNames": True,
        "capabilities": dict.fromkeys(CAPABILITIES, True)}]
    if portmap_knows is not None:
        plugins.append({"type": portmap.NAME, "capabilities": {"portMappings": True}, "snat": True})
    document = {**_versions(portmap_knows), "name": "weave", "plugins": plugins}
    return json.dumps({**document, SEAL: _seal(document)}, indent=2) + "\n"


def _versions(portmap_knows: Sequence[str] | None) -> dict[str, object]:
    """Return the keys that say which versions all plugins of the list know."""
    if portmap_knows is None:
        return {"cniVersion": CNI_VERSION, "cniVersions": CNI_VERSIONS}
    common = [version for version in CNI_VERSIONS if version in portmap_knows]
    if not common:
        older = [version for version in VERSIONS if version in portmap_knows]
        return {"cniVersion": older[-1] if older else CNI_VERSION}
    return {"cniVersion": CNI_VERSION if CNI_VERSION in common else common[0], "cniVersions": common}


def install(places: Places, *, hairpin: bool, portmap_knows: Sequence[str] | None) -> bool:
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
    wanted = conflist(hairpin=hairpin, portmap_knows=portmap_knows)
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
