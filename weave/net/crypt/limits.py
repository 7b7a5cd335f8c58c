"""Every number of the encrypted links that is a choice, with its unit and its reason."""

WIREGUARD_PORT_OFFSET = 1
"""UDP port of WireGuard, above that of VXLAN: 6785. On other hosts' firewalls it is one range with 6783 and 6784."""
PROBE_PORT_OFFSET = 2
"""UDP port of probes, above that of VXLAN: 6786. It is never open to the underlay: probes travel inside tunnels."""

OFFER_RETRY_S = 1.0
"""First pause before an agreement is tried again; a round trip over the mesh takes milliseconds, a busy host longer."""
MAX_OFFER_RETRY_S = 30.0
CONFIRM_RETRY_S = 1.0
CONFIRM_ATTEMPTS = 10
"""After that the other end has forgotten the agreement, and a new one is made."""
GRACE_S = 10.0
"""How long old keys open what is still on its way after both ends have new ones."""
REKEY_S = 3600.0
"""Age at which keys are replaced. GCM with 64-bit counters would last for years; an hour bounds what a stolen key
opens."""
REKEY_SPREAD = 0.1
"""Share of that time by which it varies, so that a thousand peers do not rekey in one second."""
MIN_POKE_S = 1.0
"""An end that wants new keys is heard at most this often: it could be somebody who only says so."""
MAX_MESSAGE_BYTES = 1024
"""An offer has about 250 octets."""
MAX_PENDING_WORDS = 200
"""Characters of a refusal that are shown."""

PROVE_INTERVAL_S = 0.5
PACE_OF_HASTE = 8
"""With a longer usual pause than that many times, probes in haste are sent less often too."""
MOST_DOUBLINGS = 2
"""Of that interval while a tunnel is proven and nothing is answered: some probes are still sent after 5 s."""
PROVE_S = 6.0
"""How long a tunnel may take to carry its first probe: WireGuard repeats its handshake after 5 s."""
FIRST_RETRY_S = 10.0
MAX_RETRY_S = 120.0
"""How long a tunnel that failed is left alone before it is tried again, doubling in between."""
STEADY_S = 60.0
"""A tunnel that was proven for so long is tried again soon when it fails; one that flaps is not."""
LOSS_WEIGHT = 1 / 32
"""Of one probe in the share of those lost: about the last minute counts."""
PROBE_INTERVAL_S = 2.0
"""Between probes of a tunnel in use; with 100 peers that is 50 small packets a second."""
PROBE_TURNS = 8
"""Probes of all peers leave at so many moments within that time, several at once: an idle host is woken less often."""
REFUSED_S = 60.0
"""How long a tunnel that our own kernel refused is left alone."""
ANSWER_S = 1.0
"""After that a probe counts as lost. Longer than any path on earth, short enough to fall back within seconds."""
MAX_ANSWER_S = 8.0
"""The most that is waited for an end that is known to be slow; the mesh gives it up after 9."""
SLOW_FACTOR, SLOW_FADES = 2.0, 0.9
"""By which the wait exceeds the slowest round trip, and by which that fades with each later one."""
OVERDUE_S = 10.0
"""How long an answer to a probe that was given up still says that the end is slow, and not gone."""
STALLED_S = 0.25
"""When we come so late to what is due we were slow ourselves, and answers may be waiting unread."""
LOST_PROBES = 4
"""In a row, the last three half a second apart: a tunnel that died is noticed after about 4 s."""
PROBES_KEPT, MANY_LOST = 20, 7
"""When so many of the latest are lost, as where a fifth of packets is, the way is left: TCP hardly moves there."""
PROBES_STEADY, FEW_LOST = 12, 1
"""A way that lost many is used again when of so many in a row no more than this were lost."""
LARGE_EVERY = 5
"""Each fifth probe of a tunnel in use is as large as a packet can be."""
PEER_FRESH_S = 7.0
"""How long it is believed that the other end has proven the tunnel too; it says so with each of its probes."""

KEEPALIVE_S = 25
"""Between keep-alives through NAT, whose tables forget UDP after 30 s; without NAT there are none."""
HANDSHAKE_STALE_S = 180
"""A WireGuard session whose last handshake is older is dead: its endpoint may be replaced by a better guess."""
WIREGUARD_OVERHEAD = 80
"""Octets that WireGuard adds over an IPv6 underlay: IP 40, UDP 8, header 16, tag 16. Over IPv4 they are 60."""
ESP_OVERHEAD = 40
"""Octets that ESP adds at most in transport mode: header 8, IV 8, padding and trailer 2 to 5, tag 16; rounded up."""
GATHER_S = 0.02
"""Changes of one burst become one round of messages to WireGuard."""
TEND_INTERVAL_S = 10.0
"""Between two looks at what the kernel has of all this."""
GATE_ROUNDS = 6
"""Each sixth of these looks is at the gate too: that costs a run of `nft`, and the kernel tells of most damage."""
MAX_SPI = (1 << 32) - 1
MIN_SPI = 1 << 8
"""Smaller ones are reserved (RFC 4303, 2.1)."""
ADOPTED_S = 15.0
"""How long a tunnel that an earlier life left in the kernel is believed to carry, until keys are agreed and probes
answered: a router that returns cuts nothing. As long the other end waits for its first answer."""
KEPT_S = 1800.0
"""How long what an earlier life left for a peer is kept while nobody knows that peer; as long as the mesh remembers."""
VXLAN_OVERHEAD = {4: 50, 6: 70}
"""Octets that VXLAN adds to a packet of a container, by family of what it travels on."""
