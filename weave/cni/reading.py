"""Read JSON that somebody else wrote: every value is of the kind it should be, or its name is in the refusal.

`null` is taken for absent, as the reference library does. Unknown keys are skipped: a configuration carries those of
other plugins of the chain.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

from weave.addresses import (
    IPAddress,
    IPInterface,
    IPNetwork,
    parse_address,
    parse_interface,
    parse_network,
)
from weave.cni.errors import CniError, Code
from weave.errors import LocalError

T = TypeVar("T")
MAX_ITEMS = 1024
"""Of any list; only the list of valid attachments in GC is ever long, one for each container of a node."""
MAX_TEXT_CHARACTERS = 1024


def decode(data: bytes) -> "Fields":
    """Return the JSON object; raise `CniError` for anything else."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise CniError(Code.UNDECODABLE, f"the network configuration is not JSON: {str(exc)[:200]}") from exc
    if not isinstance(value, dict):
        raise CniError(Code.UNDECODABLE, "the network configuration is not a JSON object")
    return Fields(value)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def invalid(message: str) -> CniError:
    """Return the refusal of a configuration."""
    return CniError(Code.INVALID_CONFIG, message)


class Fields:
    """One JSON object, read key by key; `where` is its own name in refusals."""

    def __init__(self, values: Mapping[str, object], where: str = "") -> None:
        self.values = values
        self._where = where

    def name(self, key: str) -> str:
        """Return a key as a refusal should call it."""
        return f"{self._where}.{key}" if self._where else key

    def has(self, key: str) -> bool:
        """Say whether there is a value."""
        return self.values.get(key) is not None

    def text(self, key: str) -> str:
        """Return a string, empty where there is none."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS or not value.isprintable():
            raise invalid(f"{self.name(key)} should be a string of up to {MAX_TEXT_CHARACTERS} printable characters")
        return value

    def flag(self, key: str) -> bool | None:
        """Return a flag, None where there is none."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise invalid(f"{self.name(key)} should be true or false")
        return value

    def number(self, key: str, most: int) -> int | None:
        """Return a whole number from 0 on, None where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise invalid(f"{self.name(key)} should be a whole number from 0 to {most}")
        return value

    def fields(self, key: str) -> "Fields":
        """Return an object, empty where there is none."""
        value = self.values.get(key)
        if value is None:
            return Fields({}, self.name(key))
        if not isinstance(value, dict):
            raise invalid(f"{self.name(key)} should be an object")
        return Fields(value, self.name(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty where there is none."""
        found = []
        for number, item in enumerate(self._list(key)):
            found.append(Fields({"": item}, f"{self.name(key)}[{number}]").text(""))
        return tuple(found)

    def objects(self, key: str) -> list["Fields"]:
        """Return a list of objects, empty where there is none."""
        found = []
        for number, item in enumerate(self._list(key)):
            if not isinstance(item, dict):
                raise invalid(f"{self.name(key)}[{number}] should be an object")
            found.append(Fields(item, f"{self.name(key)}[{number}]"))
        return found

    def address(self, key: str) -> IPAddress | None:
        """Return an address, None where there is none."""
        return self._parsed(key, parse_address)

    def interface(self, key: str) -> IPInterface | None:
        """Return an address with prefix length, None where there is none."""
        return self._parsed(key, parse_interface)

    def network(self, key: str) -> IPNetwork | None:
        """Return a subnet, None where there is none."""
        return self._parsed(key, parse_network)

    def _parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        text = self.text(key)
        if not text:
            return None
        try:
            return parse(text)
        except LocalError as exc:
            raise invalid(f"{self.name(key)}: {exc}") from exc

    def _list(self, key: str) -> Sequence[object]:
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise invalid(f"{self.name(key)} should be a list of up to {MAX_ITEMS}")
        return value
