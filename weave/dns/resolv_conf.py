"""The upstream servers: which ones a resolv.conf lists, and in which order to ask them.

Pure: the text and the time come from outside.
"""

from collections.abc import Collection, Sequence
from ipaddress import ip_address

from weave.dns.limits import MAX_UPSTREAMS, PENALTY_S


def name_servers(text: str) -> tuple[str, ...]:
    """Return the addresses of the `nameserver` lines in order, each once, scopes (`%eth0`) kept; skip what is none."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1]):
            found[words[1]] = None
    return tuple(found)[:MAX_UPSTREAMS]


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


class ServerBook:
    """Remembers which servers failed lately."""

    def __init__(self) -> None:
        self.servers: tuple[str, ...] = ()
        self._listed: tuple[str, ...] = ()
        self._ours: frozenset[str] = frozenset()
        self._penalised_until: dict[str, float] = {}

    def use(self, listed: Sequence[str]) -> bool:
        """Take these servers from now on; say whether that changes anything."""
        self._listed = tuple(listed)
        return self._settle()

    def avoid(self, ours: Collection[str]) -> bool:
        """Never ask at these addresses, they are our own; say whether that changes anything."""
        self._ours = frozenset(ours)
        return self._settle()

    def order(self, now: float) -> list[str]:
        """Return the servers in the order in which to ask: as listed, but those that failed lately last."""
        return sorted(self.servers, key=lambda server: self._penalised_until.get(server, now) > now)

    def failed(self, server: str, now: float) -> None:
        """Note that a server did not answer."""
        self._penalised_until[server] = now + PENALTY_S

    def succeeded(self, server: str) -> None:
        """Note that a server answered."""
        self._penalised_until.pop(server, None)

    def _settle(self) -> bool:
        before = self.servers
        self.servers = tuple(server for server in self._listed if server not in self._ours)
        kept = {server: until for server, until in self._penalised_until.items() if server in self.servers}
        self._penalised_until = kept
        return self.servers != before
