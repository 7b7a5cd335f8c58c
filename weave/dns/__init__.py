"""Names: the catalogue of what all peers registered, and the server that answers for it and asks upstream.

The face of the package; the server, with trio and the message codec behind it, is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from weave.dns.catalogue import Catalogue, CatalogueEntry
from weave.dns.entry import NameEntry, decode_name_entry, encode_name_entry

if TYPE_CHECKING:
    from weave.dns.server import DnsConfig, DnsServer

__all__ = [
    "Catalogue",
    "CatalogueEntry",
    "DnsConfig",
    "DnsServer",
    "NameEntry",
    "decode_name_entry",
    "encode_name_entry",
]


def __getattr__(name: str) -> object:
    if name in ("DnsConfig", "DnsServer"):
        return getattr(import_module("weave.dns.server"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
