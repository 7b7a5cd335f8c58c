"""The rows in which address allocation outlives a restart, and what to say when they make no sense.

    ipam.ring    key: as in gossip       value: as in gossip       every written range we know
    ipam.used    key: the address        value: [ident, prefix]    who uses it here
    ipam.seed    key: "seed"             value: as in gossip       the first division
    ipam.paxos   key: "vote"             value: as in gossip       what we promised, until the first division is known

An IPv6 ring has tables of its own (`ipam6.`). The rows are ours alone: what cannot be read is a damaged file or the
file of another configuration, and starting with it could hand out addresses that are in use.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from store.changes import Change, Delete, Put
from weave import wire
from weave.addresses import IPNetwork
from weave.errors import LocalError, RemoteError
from weave.ipam import codec, gossip
from weave.ipam.blocks import Universe
from weave.ipam.division import Division
from weave.ipam.limits import MAX_IDENT_CHARS
from weave.ipam.paxos import Vote
from weave.ipam.ring import Range
from weave.ipam.space import Holding

SEED_KEY = b"seed"
VOTE_KEY = b"vote"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a restarted peer knows."""

    division: Division | None
    ranges: tuple[Range, ...]
    used: tuple[tuple[int, Holding], ...]
    vote: Vote | None


def table_names(family: int) -> tuple[str, str, str, str]:
    """Return the names of the tables of ring, used addresses, first division and vote."""
    prefix = "ipam" if family == 4 else "ipam6"
    return f"{prefix}.ring", f"{prefix}.used", f"{prefix}.seed", f"{prefix}.paxos"


class Rows:
    """Changes of rows, and their reading."""

    def __init__(self, universe: Universe) -> None:
        self.tables = table_names(universe.family)
        self._universe = universe
        self._keys = gossip.Keys(universe)
        self._ring, self._used, self._seed, self._paxos = self.tables

    def range(self, ring_id: bytes, range_: Range) -> Change:
        """Keep a range."""
        return Put(self._ring, self._keys.range(range_.block), gossip.encode_range(ring_id, range_))

    def used(self, address: int, holding: Holding) -> Change:
        """Keep who uses an address."""
        return Put(self._used, address.to_bytes(self._universe.octets), wire.pack([holding.ident, holding.prefix]))

    def unused(self, address: int) -> Change:
        """Forget who used an address."""
        return Delete(self._used, address.to_bytes(self._universe.octets))

    def division(self, division: Division) -> Iterable[Change]:
        """Keep the first division; the vote that led to it has done its work."""
        return Put(self._seed, SEED_KEY, codec.encode_division(division)), Delete(self._paxos, VOTE_KEY)

    def vote(self, vote: Vote) -> Change:
        """Keep what we promised."""
        return Put(self._paxos, VOTE_KEY, codec.encode_vote(self._universe.network, vote))

    def read(self, tables: Mapping[str, Mapping[bytes, bytes]]) -> Stored:
        """Return what was stored; raise `LocalError` where it is damaged or of another range."""
        try:
            return self._read(tables)
        except RemoteError as exc:
            raise LocalError(
                f"the address allocation in the state file is damaged ({exc}); restore the file from a backup, or give "
                "up this peer's addresses with `weave reset` (others then need `weave rmpeer` for it)") from exc

    def _read(self, tables: Mapping[str, Mapping[bytes, bytes]]) -> Stored:
        seed = tables.get(self._seed, {}).get(SEED_KEY)
        division = None if seed is None else codec.decode_division(self._universe, seed)
        if division is not None:
            self._check_range(division.network)
        used = tuple(self._read_used(key, value) for key, value in sorted(tables.get(self._used, {}).items()))
        vote = self._read_vote(tables.get(self._paxos, {}).get(VOTE_KEY))
        return Stored(division, tuple(self._read_ranges(division, tables.get(self._ring, {}))), used, vote)

    def _check_range(self, stored: IPNetwork) -> None:
        if stored != self._universe.network:
            raise LocalError(
                f"this peer's state is of the range {stored}, but --ipalloc-range is {self._universe.network}; go back "
                f"to --ipalloc-range {stored}, or run `weave reset` here to begin anew")

    def _read_ranges(self, division: Division | None, rows: Mapping[bytes, bytes]) -> Iterable[Range]:
        for key, value in sorted(rows.items()):
            entry = self._keys.decode(key, value)
            is_ours = isinstance(entry, gossip.RangeEntry) and division and entry.ring_id == division.ring_id
            if not is_ours or not isinstance(entry, gossip.RangeEntry) or entry.range is None:
                raise RemoteError("a range of another ring")
            yield entry.range

    def _read_used(self, key: bytes, value: bytes) -> tuple[int, Holding]:
        address = int.from_bytes(wire.expect_bytes(key, "address", size=self._universe.octets))
        ident, prefix = codec.fields(wire.unpack(value), "used address", 2)
        return address, Holding(wire.expect_str(ident, "ident", most=MAX_IDENT_CHARS),
                                wire.expect_int(prefix, "prefix", 0, self._universe.bits))

    def _read_vote(self, value: bytes | None) -> Vote | None:
        if value is None:
            return None
        network, vote = codec.decode_vote(self._universe, value)
        self._check_range(network)
        return vote
