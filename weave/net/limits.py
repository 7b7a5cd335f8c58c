"""Every number of the dataplane that is a choice, with its unit and its reason."""

VXLAN_OVERHEAD_V4 = 50
"""Octets that a VXLAN frame adds to an inner packet: Ethernet 14, IPv4 20, UDP 8, VXLAN 8."""
VXLAN_OVERHEAD_V6 = 70
UDP_OVERHEAD = 28
"""Octets of IPv4 and UDP headers; over IPv6 the sleeve finds its sizes out."""
VXLAN_HOPE_S = 10.0
"""How long plain VXLAN to a new peer is taken to work without a proof: four lost probes take about 6 s."""
VXLAN_PEERS_AT_FULL_PACE = 2
"""With more peers each is probed less often: probes then cost each host the same, one a second."""
DEFAULT_UNDERLAY_MTU = 1500
"""Taken where no device says otherwise."""
MIN_MTU = 576
"""Below it IPv4 itself is not sure to work."""
MIN_MTU_V6 = 1280
"""IPv6 is switched off by the kernel on a device below it."""
MAX_PACKET = 65535
"""Octets that an IP packet has at most, whatever a device would carry."""
MAX_MTU = MAX_PACKET - VXLAN_OVERHEAD_V4
MTU_RAISE_S = 300.0
"""How long nobody must have needed a smaller MTU before it is raised: a host that reboots is back by then."""

SETTLE_ROUNDS = 4
"""Create, enslave and set up, verify; one more for a device that somebody else changes meanwhile."""
NFT_DEADLINE_S = 10.0
"""One `nft` run takes 20 ms; beyond this something is stuck."""
UNDERLAY_CACHE_S = 5.0
"""How long the list of our own underlay addresses is believed; it is asked for at every gossip change."""
NEWCOMERS_GATHER_S = 0.002
"""Until the bridge answers ARP for a new container, which it does for itself: whoever attached it is answered first."""
NOTICES_GATHER_S = 0.05
"""What the kernel tells is read a little later: most of it is of what we are just doing, and that comes first."""
DAMAGE_SETTLES_S = 0.2
"""Who removes one thing of ours usually removes more of them: one look then sees all."""
MEMBERSHIP_GATHERS_S = 0.01
"""A program that joins several groups does so at once; until the others know, they are served as it was before."""
MEMBERSHIP_TIMEOUT_CS = 40000
"""After which a bridge forgets a member that does not answer, in hundredths of a second. The default of 260 s is too
close to the 255 s after which a bridge begins to ask itself when that of another host, which asked before, is gone."""
TOLD_GROUPS = 1024
"""Groups that a host tells of; one with more is served with all of them."""
PROGRAM_SLICE = 256
"""Forwarding changes between two turns of the other tasks: about 3 ms."""
FORMER_NEIGHBOURS = 4096
"""Addresses remembered after they went, so that our containers are told when they appear behind another MAC."""
KERNEL_JOBS = 4
"""Attachments worked on at once: the kernel serialises most of it, the rest is waiting for RCU."""

MAX_CONTAINER_CHARACTERS = 200
"""An alias has room for 255 octets: the container, a blank and the interface."""
MAX_INTERFACE_CHARACTERS = 15

NEIGHBOUR_REACHABLE_S = 5
"""A container that moved to another host is asked for again within seconds, not minutes (as Weave Net had it)."""
NEIGHBOUR_FIRST_PROBE_S = 2
NEIGHBOUR_UNICAST_PROBES = 1
