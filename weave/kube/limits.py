"""Every bound and interval of what speaks to the Kubernetes API, with its reason."""

# Sizes

MAX_BODY_BYTES = 64 << 20
"""A page of 500 objects of 128 KiB fits; etcd takes no object beyond 1.5 MiB."""
MAX_LINE_BYTES = 8 << 20
"""One event of a watch: an object of etcd's limit, escaped, fits several times."""
MAX_ERROR_BYTES = 64 << 10
"""Of a refusal we read its status object, which is short."""
MAX_OBJECTS = 200_000
"""Objects of one kind: more than any cluster that Kubernetes supports has."""
PAGE_OBJECTS = 500
"""Objects asked for at a time, as Kubernetes' own clients do."""

# Times

CONNECT_DEADLINE_S = 10.0
REQUEST_DEADLINE_S = 60.0
"""The API server ends a request itself after 60 s."""
WATCH_S = (180.0, 360.0)
"""How long a watch is asked for, drawn anew each time so that not all nodes return together."""
WATCH_GRACE_S = 20.0
"""A server that has not ended a watch this long after its time hangs, or is not there any more."""
KEEPALIVE_IDLE_S = 15
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 3
"""A host that is gone without a word is noticed by TCP in half a minute."""
FIRST_RETRY_S = 0.5
GROWTH = 2.0
LONGEST_RETRY_S = 30.0
JITTER = (0.5, 1.0)
"""A pause lies between these shares of its longest."""
DENIED_RETRY_S = 30.0
"""Rights change by a person's hand; asking more often fills the audit log of the API server."""
ABSENT_RETRY_S = 15.0
"""How often to look whether a kind has been installed meanwhile. Whoever installs it sees it count while still at it;
the answer "no" costs an API server next to nothing."""
MAX_RETRY_AFTER_S = 300.0
"""No server is obeyed that sends us away for longer."""
CALM_WATCH_S = 5.0
"""A watch that lived this long, or brought an event, was a success: the next failure starts from the first pause."""
MAX_STALE_PAGES = 2
"""After so many lists whose pages were outdated or refused before we had read them all, the list is asked for in one
piece."""
MAX_PAGE_FAILURES = 5
"""A page that failed so often in a row may fail for its continuation: the list begins anew."""

# The agent

POLL_ROUTER_S = 2.0
POLL_ROUTER_READY_S = 10.0
POLL_RECORD_S = 30.0
"""The record of the members changes when nodes come and go; each agent looks twice a minute."""
OFFLINE_START_S = 20.0
"""A node that was a member before starts without the API server after this long."""
GATHER_S = 10.0
"""How long the first nodes wait for each other before the range is divided among those that are there."""
MAX_SEED = 32
"""Peers among whom the range is divided first; those that come later ask for space."""
LEASE_S = 120.0
"""A reclaim that has not moved for this long is another's to finish; longer than one takes at most."""
CLAIM_VALID_S = 20.0
"""A claim is acted on within this time, or made anew: a process that was stopped meanwhile must not act on it."""
SETTLE_S = 30.0
"""A router that just started does not know yet who owned what; it takes nobody's space before."""
REFUSED_RETRY_S = 60.0
"""A peer that is reachable, though it was claimed as one that is not, is asked for again after this long."""
CLAIM_JITTER_S = 3.0
"""Agents that see a node go do not all claim it in the same instant."""
EVENT_BURST = 10
EVENT_INTERVAL_S = 60.0
"""Events that we post at most in this time; the API server's store is no log."""
MAX_EVENT_MESSAGE = 1024
"""As the API server bounds it."""
MAX_TARGETS = 16
"""Up to so many other nodes are dialled all; of more, those at distances 1, 2, 4, ... and discovery does the rest."""
