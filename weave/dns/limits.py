"""Every bound, interval and size of the name service on one page, each with its unit and its reason."""

# --- names and messages -----------------------------------------------------------------------------------------
MAX_LABEL_BYTES = 63
"""RFC 1035, section 2.3.4."""
MAX_NAME_BYTES = 255
"""RFC 1035, section 2.3.4: on the wire, with the length octets and the root."""
MAX_CONTAINER_ID = 128
"""Characters of a container identifier; Docker's has 64."""
PLAIN_UDP_BYTES = 512
"""The largest reply to a client that did not say what it can take (RFC 1035)."""
EDNS_UDP_BYTES = 1232
"""What we advertise and the most we send: it fits every path without fragments (DNS flag day 2020)."""
MAX_TCP_BYTES = 65535
"""What the two octets of framing can say."""
MAX_QUERY_BYTES = 4096
"""A query has one name and a few options; what is longer is an attack on the parser."""
MAX_ADDITIONAL_RECORDS = 4
"""A query carries an OPT, perhaps a TSIG or SIG(0)."""

# --- replies made in advance ------------------------------------------------------------------------------------
MAX_PREBUILT_REPLIES = 4096
"""Questions whose replies are kept; a client that scrambles the case fills them in vain."""
MAX_PREBUILT_BYTES = 4 << 20
"""Octets of the replies kept, each in all its orders: with the questions, and with what Python adds, 8 MB at most."""
MAX_PREBUILT_QUERY_BYTES = 300
"""The longest query kept as a key: a whole name and a plain OPT."""
MAX_ROTATIONS = 8
"""Orders of one answer; with more addresses than this some are never first, but never left out."""
MAX_KNOWN_CLIENTS = 16384
"""Source addresses remembered as admitted, so that the check is one look-up."""

# --- the server -------------------------------------------------------------------------------------------------
UDP_BURST = 64
"""Datagrams answered before other tasks get their turn: about a millisecond."""
MAX_FORWARDED = 512
"""Queries waiting for the upstream at a time, of all clients; beyond it they are answered SERVFAIL at once."""
MAX_TCP_CONNECTIONS = 128
"""Open TCP connections; beyond it a new one is closed at once."""
MAX_TCP_PIPELINED = 32
"""Queries of one TCP connection waiting for the upstream; beyond it we read no further."""
TCP_IDLE_S = 10.0
"""A TCP connection without a query for this long is closed (RFC 7766 asks for seconds)."""
TCP_SEND_S = 5.0
"""A TCP client that does not take its reply within this is cut off."""
BIND_RETRY_S = 0.5
"""The first wait after an address could not be bound; a new IPv6 address needs about this long."""
BIND_RETRY_MAX_S = 15.0
"""The longest wait between two attempts to bind."""
PROBLEM_AFTER_TRIES = 3
"""Failures to bind before we complain: the first ones are common while the bridge comes up."""

# --- upstream ---------------------------------------------------------------------------------------------------
SECOND_TRY_AFTER_S = 0.8
"""A server silent for this long gets company: the next one is asked beside it."""
UPSTREAM_DEADLINE_S = 4.5
"""A question is given up after this: just before the common stub resolvers repeat theirs (5 s)."""
PENALTY_S = 10.0
"""A server that failed is asked last for this long."""
MAX_UPSTREAMS = 8
"""Servers used of a resolv.conf; the C library uses three."""
RESOLV_CONF_INTERVAL_S = 5.0
"""How often at most the file is looked at."""
MAX_RESOLV_CONF_BYTES = 65536
"""More is no resolv.conf."""
MAX_CACHED_REPLIES = 2048
"""Upstream replies kept."""
MAX_CACHED_REPLY_BYTES = 4096
"""The longest upstream reply kept: with the bound above at most 8 MB."""
MAX_CACHED_S = 3600
"""The longest time an upstream reply is kept, whatever its TTL."""
MAX_NEGATIVE_CACHED_S = 60
"""The same for a negative reply: names come into being."""
MAX_REPLY_RECORDS = 2048
"""Records in an upstream reply; 64 KiB hold no more than twice that of the useful kinds."""
