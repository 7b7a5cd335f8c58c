"""The command line of a sleeve. Nothing secret is in it: keys come by the unix socket."""

import sys
from pathlib import Path

from weave.addresses import IPAddress


def command(socket: Path, device: str, listen: IPAddress | None, port: int, most: int) -> list[str]:
    """Return the words that start a sleeve; `most` is the largest UDP payload that this host's devices carry."""
    words = [sys.executable, "-P", "-m", "weave.net.sleeve.main", "--socket", str(socket), "--device", device,
             "--port", str(port), "--most", str(most)]
    return words if listen is None else [*words, "--listen", str(listen)]
