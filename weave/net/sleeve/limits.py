"""Every bound, interval and size of the sleeve on one page, each with its unit and its reason."""

# --- keys -------------------------------------------------------------------------------------------------------
REKEY_AFTER_S = 120.0
"""How long a key is used by its initiator before a new one is agreed: what a stolen memory image opens is bounded."""
REKEY_GRACE_S = 30.0
"""The responder begins only this much later, so that both do not begin at once."""
REJECT_AFTER_S = 300.0
"""A session this old opens and seals nothing any more, whatever became of its successor."""
REKEY_AFTER_UNITS = 1 << 22
"""Of up to 64 KiB each: 2^34 blocks of AES-GCM, where its bound is still below 2^-57 (RFC 8446, section 5.5)."""
REPLAY_WINDOW = 2048
"""Counters below the highest one that are still told apart."""

# --- handshakes -------------------------------------------------------------------------------------------------
HANDSHAKE_RETRY_S = 0.25
"""The first retry; a local network answers in a millisecond."""
HANDSHAKE_ROUND_TRIPS = 2.0
"""Between two tries at least, where it is known how long they take: an answer that is under way is waited for."""
HANDSHAKE_RETRY_MOST_S = 4.0
HANDSHAKE_JITTER = 0.2
MAX_INITIATIONS = 4
"""Of one peer, kept open at both ends: what takes longer to come than the retries still finds its own."""
MAX_CANDIDATES = 6
"""Addresses tried for one peer at a time."""
MAX_HINTS = 2
HANDSHAKES_PER_S = 100.0
"""Answered without a cookie; each costs 0.3 ms."""
HANDSHAKES_BURST = 200.0
HANDSHAKES_HARD_PER_S = 400.0
"""Answered with a cookie: nothing outside proves more than an address."""
COOKIE_LIFE_S = 60.0
SEEN_INITIATIONS = 1024
"""Initiations remembered so that a recorded one costs nothing when it is played again."""
ASK_INTERVAL_S = 5.0
"""How often others are asked where a peer is that does not answer."""
MAX_HELPERS = 3

RELAY_AFTER_ATTEMPTS = 3
"""Handshakes that found nobody, until others are asked to pass them on."""
MAX_RELAYS = 2
"""Helpers tried at a time for one peer."""
DIRECT_AGAIN_S = 5.0
"""How often a peer that is reached through another is looked for directly."""

# --- liveness ---------------------------------------------------------------------------------------------------
PROBE_BUSY_S = 2.0
"""Between two probes of a peer with which frames are exchanged."""
PROBE_IDLE_S = 20.0
"""Otherwise; address translators forget a quiet flow after 30 s."""
PROBE_DOUBT_S = 0.3
"""Between two probes once something we sent was not followed by anything from them."""
DOUBT_AFTER_S = 0.7
PROBES_LOST = 3
"""In a row, until the way is taken for dead and all known addresses are tried."""
BUSY_FOR_S = 5.0
LOSS_WEIGHT = 0.05
RTT_WEIGHT = 0.125
"""As TCP smooths it (RFC 6298)."""

# --- which way --------------------------------------------------------------------------------------------------
TRIAL_BUSY_S = 2.0
"""Between two comparisons of the direct way to a peer with one through a helper, while frames are exchanged."""
TRIAL_IDLE_S = 5.0
"""The same without frames, for peers that are reached through another alone: it should be left in peace."""
TRIAL_HASTE_S = 0.25
"""The same while there may be something to decide."""
MAX_IN_HASTE = 16
"""Peers that are compared that often at a time: 128 small datagrams a second at most."""
TRIAL_PATIENCE_S = 1.5
"""After that an answer is none."""
TRIALS_KEPT = 40
"""Of each way: 10 s in haste."""
TRIALS_FEW = 3
"""That must have been answered for a way to be looked at in haste."""
TRIALS_BARREN = 8
"""After so many, half of them lost, another helper is tried; fewer say nothing about loss."""
TRIALS_REST_S = 10.0
"""After a helper that was of no use."""
LARGEST_PAIR = 0x7FFF_FFFF
LEAVE_LOST = 8
"""Of those kept must be lost for the direct way to be left: 20% of round trips, as where 11% of datagrams are lost."""
LEAVE_LOST_TIMES = 2
"""So many more for each one that was lost through the helper too."""
TRIALS_SPAN, LEAVE_SPANS = 10, 3
"""In so many spans of so many some must be lost: one short outage is nothing lasting."""
LEAVE_RTT_TIMES, LEAVE_RTT_S = 2.0, 0.005
"""A round trip longer than so many times that through the helper and so much more is a reason to leave, too."""
RETURN_TRIALS = 40
"""Must be measured before a direct way that was left is taken again ..."""
FOUND_TRIALS = 12
"""... and these before one that did not answer at all is."""
RETURN_LOST = 1
"""So many more may be lost than through the helper: by chance, or by whoever counts them."""
RETURN_RTT_TIMES, RETURN_RTT_S = 1.5, 0.003
AWAY_FIRST_S, AWAY_MOST_S = 10.0, 600.0
"""How long a direct way that was left is left alone; twice as long if it was taken again only recently."""
STEADY_S = 600.0
"""How long a way must have served to be trusted again as if it had never been left."""

# --- sizes ------------------------------------------------------------------------------------------------------
SIZES = (548, 1232, 1372, 1392, 1432, 1452, 1472, 8972)
"""UDP payloads that are tried: what IPv4 promises, IPv6 promises, tunnels leave of 1500, Ethernet, jumbo frames."""
FIRST_SIZE = 1232
SIZE_AGAIN_S = 0.5
"""Until sizes are tried a second time: the first may have been lost by chance."""
SIZE_RETRY_S = 60.0
"""Between two looks whether larger datagrams get through meanwhile."""
SIZE_PROBES_LOST = 3
MAX_FRAGMENTS = 160
"""Of one unit: 64 KiB in the smallest size."""
MAX_UNIT = 66_000
"""Octets of a sealed unit: the largest frame the kernel hands out with its record header, and the tag."""
AGGREGATE = 16_000
"""A unit with this much in it is sealed; a larger one would delay its first frame for little."""

# --- what strangers and losses may make us hold -----------------------------------------------------------------
MAX_PARTIAL = 128
"""Units of one session that lack fragments; the oldest goes first."""
MAX_PARTIAL_BYTES = 6 << 20
MAX_AHEAD = 4096
"""How far above the highest authenticated counter a fragment may be; the farthest burst that a socket buffer holds."""
MAX_MISSING = 512
"""Counters of one session that we would ask for; a longer hole is an outage, not a loss."""
NACKS = 3
"""Times that one unit is asked for."""
NACK_DELAY_S = 0.001
"""How long a gap may be mere reordering."""
NACK_TAIL_S = 0.006
"""How long the newest unit may lack fragments before it is asked for though nothing newer came."""
NACK_GIVE_UP_S = 1.5
MAX_NACK_ITEMS = 48
"""Units asked for in one message."""
MAX_NACK_BYTES = 432
"""Of what says so, with masks: it must fit the smallest datagram, through a helper too. A unit takes 9 to 29 octets."""
HOLD_S = 0.004
"""How long units wait for an earlier one, beside 1.5 round trips: until it came when it was asked for once."""
HOLD_MOST_S = 0.1
HOLD_BYTES = 2 << 20
RESEND_SMALL = 2048
"""Units of one datagram kept for the same: 3 MiB."""
RESEND_RING = 128
"""Sealed units kept for being asked again: 8 MiB, what a gigabit holds in 60 ms."""

# --- the router's end -------------------------------------------------------------------------------------------
ORPHAN_S = 1800.0
"""How long we carry on without a router; as long as the mesh remembers an unreachable peer."""
KEYLESS_S = 60.0
"""How long we wait for the first router: without its keys we are of no use."""
STATUS_INTERVAL_S = 1.0
MAX_PEERS = 4096
MAX_MACS = 1 << 17

# --- the loop ---------------------------------------------------------------------------------------------------
SOCKET_BUFFER = 8 << 20
"""Octets, of each direction: a few milliseconds of a fast link while we are not scheduled."""
MAX_SEGMENTS = 64
"""In one call: what every kernel with UDP segmentation takes."""
MAX_DATAGRAM = 65_507
BURST = 16
"""Units in one direction before the other has its turn."""
SPILLS = 16
"""Datagrams that are taken in at a time where the kernel may join some but did not lately: each may be 64 KiB long."""
LAYOUT_MISSES = 8
"""Datagrams of another size in a row until the receiving buffers are laid out for it."""
SINGLES = 8
"""Datagrams that came singly, one after another, until we no longer count on the kernel to join them."""
WARM_FOR_S = 0.01
"""How soon the next frame must be about to come for its way to be kept warm."""
QUIET_S = 0.001
"""A frame that comes after so long begins a conversation anew."""
ANSWER_S = 0.0005
"""How long we stay awake for what usually follows such a frame."""
ANSWERS = 4
"""So many must have come as soon, and as many more allow for that many that do not."""
BEATS = 4
"""So many frames must have come at regular times, and as many more allow for that many that do not."""
EARLY_S = 0.0002
"""What waking up and walking the way takes before a frame may come."""
LATE_S = 0.0001
"""Over and above what frames came late lately."""
AHEAD_SHARE = 0.125
"""Of the time between two frames: more is not spent on waiting awake for the next."""
AHEAD_MOST_S = 0.001
"""Nor more than this at a time, however rare they are."""
RESTART_S = 0.1
RESTART_MOST_S = 5.0
HELLO_DEADLINE_S = 5.0
"""An interpreter starts in a fifth of a second on a quiet machine."""
START_DEADLINE_S = 60.0
"""Until a sleeve that was started and says nothing is ended for another; on a very busy machine it takes long."""
QUIT_DEADLINE_S = 2.0
TAP_HEADER = 10
"""Octets of the virtio header before each frame."""
