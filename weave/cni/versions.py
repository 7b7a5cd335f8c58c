"""The versions of the specification, and what each of them knows."""

from weave.cni.errors import CniError, Code

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""All that ever were, the oldest first; each can be asked for and answered."""
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]
_FIRST_WITH_INTERFACES, _FIRST_WITH_CHECK = "0.3.0", "0.4.0"
_FIRST_WITHOUT_FAMILY, _FIRST_WITH_DETAILS = "1.0.0", "1.1.0"


def is_known(version: str) -> bool:
    """Say whether we can answer in this version."""
    return version in VERSIONS


def require(version: str, verb: str) -> None:
    """Raise `CniError` unless a configuration of this version may be used with this verb."""
    if not is_known(version):
        raise CniError(Code.INCOMPATIBLE_VERSION, f"cniVersion {version[:32]!r} is not known here",
                       f"this plugin knows {', '.join(VERSIONS)}")
    first = {"CHECK": _FIRST_WITH_CHECK, "GC": _FIRST_WITH_DETAILS, "STATUS": _FIRST_WITH_DETAILS}.get(verb, OLDEST)
    if not _at_least(version, first):
        raise CniError(Code.INCOMPATIBLE_VERSION, f"{verb} needs cniVersion {first} or newer, the configuration has "
                       f"{version}")


def has_interfaces(version: str) -> bool:
    """Say whether results list interfaces, and every address (0.3.0)."""
    return _at_least(version, _FIRST_WITH_INTERFACES)


def has_family(version: str) -> bool:
    """Say whether an address says `version: "4"` beside itself (0.3.0 to 0.4.0)."""
    return has_interfaces(version) and not _at_least(version, _FIRST_WITHOUT_FAMILY)


def has_details(version: str) -> bool:
    """Say whether interfaces have an MTU and routes have options (1.1.0)."""
    return _at_least(version, _FIRST_WITH_DETAILS)


def _at_least(version: str, first: str) -> bool:
    return VERSIONS.index(version) >= VERSIONS.index(first)
