"""Every bound, interval and size of the mesh core on one page, each with its unit and its reason.

A bound on what a stranger may make us hold is enforced where the thing enters (`messages`, `channel`, `identities`);
an interval is read by `core` alone, which owns the clock.
"""

# --- liveness ---------------------------------------------------------------------------------------------------
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S = 3, 1
"""After so much silence the kernel asks the kernel at the other end whether the connection stands, and so often then:
it wakes no process. Five questions may get lost."""
VANISHED_AFTER_S = 8.0
"""A connection whose other host answers nothing for this long is dead: all know of it within 10 s."""
HEARTBEAT_INTERVAL_S = 3.0
"""Between two rounds of heartbeats, which carry the roots of all channels: 100 octets each."""
HEARTBEATS_A_ROUND = 3
"""How many neighbours a round is for: as many compare with us, and what anybody lacks is found within a round."""
HEARTBEAT_ROUNDS = 10
"""With many neighbours a round is for more of them, so that each has its turn within so many."""
HEARTBEAT_JITTER = 0.1
"""Each round comes up to this share early, so that a mass start does not beat in step for ever."""
REACH_HEARTBEAT_DELAY_S = 0.5
"""After peers came or went the next round comes this soon: whose entries are gossiped has changed."""
REWIRED_HEARTBEAT_DELAY_S = 1.0
"""After any link changed the next round comes this soon: an epidemic and unequal trees leave gaps for digests."""
DEAD_AFTER_S = 60.0
"""A connection on which nothing comes for this long is dead though its kernel answers: a router that hangs. Each has
its heartbeat every 30 s."""
STALL_GRACE_S = 1.0
"""A tick later than this means that we slept, not they: nobody is declared dead for it."""

# --- pushing changes --------------------------------------------------------------------------------------------
FLUSH_DELAY_S = 0.02
"""How long changes gather before they are sent on; six hops cost an eighth of a second."""
LINKS_DELAY_S = 0.05
"""How long the first change of our links waits for company before it is published."""
LINKS_INTERVAL_S = 0.5
"""The least time between two publications of our links: a mass start changes them at every handshake."""
GRAPH_INTERVAL_S = 0.2
"""The least time between two computations of the graph: it costs milliseconds with a thousand peers."""
UNSETTLED_S = 1.0
"""For this long after a change of the graph trees may differ between peers."""
UNSETTLED_FANOUT = 2
"""To how many neighbours beside those below in the tree a relay passes on meanwhile: the few peers that trees which
differ in a link or two miss are reached by others, not seconds later by digests."""
UPHEAVAL_PEERS = 8
"""When more peers than this have other links at once, trees differ too much to be worth growing."""
UPHEAVAL_FANOUT = 4
"""To how many neighbours a relay passes on without a tree: reaches 98% (1 - r = exp(-4r)), digests the rest."""
MAX_EDGES_CARRIED_OVER = 8
"""After a change of more edges than this it is cheaper to grow all trees anew than to ask which are untouched."""
MAX_DELTA_BYTES = 60 * 1024
"""Entries in one delta: what a slow link (10 kB/s) carries within the time that would make it dead."""
MAX_DELTAS_PER_FLUSH = 8
"""Deltas handed to one connection at once; the rest follows when its buffer had time to say that it is full."""
MAX_UNICASTS_HELD = 256
"""Unicast messages waiting for one congested connection; beyond it the newest is dropped and counted."""
MAX_HOPS = 32
"""A unicast message that was relayed this often is in a loop; the diameter of 1,000 peers is 4."""

# --- healing ----------------------------------------------------------------------------------------------------
DIGEST_BUCKETS = 64
"""Hashes in a digest: 0.5 kB narrows 1,000 owners down to 16 for each bucket that differs."""
PLAIN_SUMMARY_OWNERS = 32
"""Up to this many owners are summarised at once, which costs no more than the buckets would."""
QUIET_BEFORE_HEALING_S = 0.4
"""A channel that merged something this recently is still being pushed to: its root says nothing yet."""
HEALING_DEFERRED_S = 6.0
"""A channel that is never quiet is healed nonetheless when nobody has had our root for this long: two rounds of
heartbeats, in which what is only on its way arrives."""
MAX_EXCHANGES = 2
"""Exchanges in flight for a channel that we began: more would fetch the same entries again."""
MAX_EXCHANGES_ANSWERED = 4
"""Exchanges of a channel that we answer at a time; who is not answered asks again."""
EXCHANGE_TIMEOUT_S = 4.0
"""An exchange without progress for this long is given up: its link may be slow or cut."""
MAX_EXCHANGE_ROUNDS = 4
"""Exchanges in a row on one connection before we wait for the next heartbeat."""
BARREN_BACKOFF_S = 3.0
"""An exchange that brought nothing doubles the wait before the next, so that a refused entry costs little."""
BARREN_BACKOFF_MAX_S = 60.0
"""The longest such wait."""

# --- the life of peers ------------------------------------------------------------------------------------------
FORGET_AFTER_S = 1800.0
"""An unreachable peer is forgotten after this; Weave Net's tombstones lived as long."""
FORGET_CHECK_S = 60.0
"""How often the unreachable are looked at."""
FLOOR_DELAY_S = 5.0
"""Entries of our previous life die this long after the start: what is published again by then never flaps."""
REASSERT_INTERVAL_S = 5.0
"""The least time between two re-assertions of our own entries, doubled each time: two clones must not wage a war."""
REASSERT_INTERVAL_MAX_S = 300.0
"""The longest such time."""
CLONE_NEWS_S = 3600.0
"""For so long it is told that two machines ran with one key."""
DISCOVERY_INTERVAL_S = 1.0
"""How often, at most, the planner is told of addresses found in the topology."""
MIN_TOMBSTONES = 64
"""An owner with more tombstones than this, and than live entries, raises its floor: amortised O(1) for a change."""

# --- what others may make us hold -------------------------------------------------------------------------------
MAX_OWNERS = 8192
"""Identities and owners held; four times what anybody has tried to run."""
MAX_CONNECTIONS_OF_PEER = 8
"""Connections with one process at the other end: one is used; two that dial each other at several addresses each have
a few for a moment."""
MAX_ENTRIES_PER_OWNER = 16384
"""Entries of one owner in one channel: a host with 4,000 containers of four names each."""
MAX_BYTES_PER_OWNER = 8 << 20
"""What those entries may take in all: twice what such a host needs; a value may be long, but not all of them."""
MAX_KEY_BYTES = 600
"""A key: a DNS name, a container and an address fit."""
MAX_VALUE_BYTES = 32 * 1024
"""A value: the links of 500 neighbours fit with their addresses, and of `MAX_LINKS` without."""
MAX_IDENTITY_BYTES = 512
"""An encoded public identity; ours has about 160."""
MAX_SIGNATURE_BYTES = 128
"""A signature; Ed25519 has 64."""
MAX_CHANNEL_CHARS = 32
"""The name of a channel."""
MAX_CHANNELS = 32
"""Channels in a heartbeat; what is unknown here is skipped."""
MAX_GROUPS = 4096
"""Owners in one delta."""
MAX_ENTRIES_PER_DELTA = 8192
"""Entries of one owner in one delta; the size of a message bounds it further."""
MAX_PAYLOAD_BYTES = 64 * 1024
"""The payload of a unicast message."""
MAX_KIND_CHARS = 32
"""The kind of a unicast message."""
MAX_REASON_CHARS = 200
"""The reason given with a goodbye."""
MAX_LINKS = 2500
"""Links that one peer may claim: a hub that a whole mesh connects to has so many."""
MAX_ADDRESSES = 32
"""Underlay addresses, or trusted subnets, that one peer may advertise."""
