"""Every bound and interval of address allocation on one page, each with its unit and its reason."""

# --- space ------------------------------------------------------------------------------------------------------
FREED_HOLD_S = 30.0
"""A freed address rests this long: neighbour caches and connection tracking forget it meanwhile."""
TAKEOVER_HOLD_S = 10.0
"""Space taken from a dead peer rests this long: two who took it at once learn of each other (healing takes 3 s)."""
MIN_SUBNET_ADDRESSES = 4
"""The smallest subnet to allocate from: network, broadcast and two hosts."""

# --- life -------------------------------------------------------------------------------------------------------
SYNC_GRACE_S = 5.0
"""A restarted peer that nobody answers goes on with what it remembers after this; reachable peers answer in 1 s."""
RECALL_INTERVAL_S = 0.2
"""How often it asks meanwhile: those that were founding the ring with it may not have it yet."""
HINT_INTERVAL_S = 2.0
"""The least time between two publications of how much is free."""

# --- asking for space -------------------------------------------------------------------------------------------
ASK_TIMEOUT_S = 1.0
"""An unanswered request for space goes to the next owner after this; a relayed round trip takes a tenth of it."""
ASK_ROUND_S = 2.0
"""When every owner was asked in vain, the next round begins after this, doubled each time."""
ASK_ROUND_MAX_S = 15.0
"""The longest such pause; news of free space ends it at once."""
MAX_PENDING = 4096
"""Requests that wait at one time; beyond it they are refused, for their callers retry anyway."""
REMEMBERED_GRANTS = 256
"""Grants kept in memory, so that a repeated request gets the same space again."""
REMEMBERED_ASKS = 64
"""Requests of ours whose late grant is still welcome."""
MAX_WRITTEN = 12000
"""Ranges in the ring beyond which nobody splits further; the mesh takes 16,384 entries of one owner."""

# --- taking over and giving up ----------------------------------------------------------------------------------
TAKEOVER_BUMP = 100
"""How much the version of a range rises when it is taken: what its dead owner last wrote, unseen, stays below."""
VIEW_RESEND_S = 0.4
"""How often a takeover asks those again that have not answered."""
VIEW_TIMEOUT_S = 2.0
"""How long a takeover waits for the views of all reachable peers."""
SURRENDER_TIMEOUT_S = 3.0
"""How long a leaving peer waits to see that its heir has the space."""
SURRENDER_RESEND_S = 0.5
"""How often it repeats itself meanwhile."""

# --- the first division -----------------------------------------------------------------------------------------
ELECTION_PATIENCE_S = 1.0
"""How long an election waits for the expected peers beyond the quorum, so that all of them get a share."""
ELECTION_TURN_S = 1.0
"""How long everybody leaves the proposing to the peer with the lowest name."""
ELECTION_RETRY_S = 1.0
"""An election without a result begins anew after this, plus jitter, doubled each time."""
ELECTION_RETRY_MAX_S = 10.0
"""The longest such pause."""
SEED_COPIES = 3
"""How many peers publish the first division in full, beside those that did so and are gone."""
SEED_PATIENCE_S = 5.0
"""How long the others leave that to the peers with the lowest names, or a new ring is told a thousand times."""

# --- what others may make us hold -------------------------------------------------------------------------------
MAX_VERSION = 1 << 48
"""No range changes hands so often."""
MAX_SEED_PEERS = 2048
"""Peers in a first division: 12 kB, twice what anybody has tried to run."""
MAX_ENTRIES_PER_MESSAGE = 512
"""Ranges in one message: 25 kB."""
MAX_IDENT_CHARS = 255
"""Who holds an address: a container's id or a word; CNI's `id/interface` fits."""
MAX_CONFLICTS_SHOWN = 32
"""Sentences in a report; a restored snapshot may contradict thousands of addresses."""
