"""The numbers of the protocol that we act on (IANA, Domain Name System Parameters)."""

A = 1
NS = 2
SOA = 6
PTR = 12
HINFO = 13
AAAA = 28
OPT = 41
DS = 43
DNSKEY = 48
IXFR = 251
AXFR = 252
ANY = 255

CLASS_IN = 1

NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
BADVERS = 16

_TYPES = {A: "A", NS: "NS", SOA: "SOA", PTR: "PTR", AAAA: "AAAA", 15: "MX", 16: "TXT", 33: "SRV", 65: "HTTPS",
          ANY: "ANY"}
_RCODES = {NOERROR: "NOERROR", FORMERR: "FORMERR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", NOTIMP: "NOTIMP",
           REFUSED: "REFUSED", BADVERS: "BADVERS"}


def type_name(rtype: int) -> str:
    """Return the name of a common type, `other` for the rest: a bounded set, fit for counters."""
    return _TYPES.get(rtype, "other")


def rcode_name(rcode: int) -> str:
    """Return the name of a response code that we send, `other` for the rest."""
    return _RCODES.get(rcode, "other")
