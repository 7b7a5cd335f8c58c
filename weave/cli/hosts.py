"""The /etc/hosts of a container: our lines between two marks, everything else untouched."""

from collections.abc import Sequence

from weave.addresses import parse_address
from weave.errors import LocalError

BEGIN = "# begin weave"
END = "# end weave"


def rewrite_hosts(path: str, addresses: Sequence[str], names: Sequence[str], extra: Sequence[str]) -> None:
    """Write the container's addresses and `name:address` extras into its hosts file, replacing what we wrote before.

    The file is written in place: it is mounted into the container, a new file would not be seen there.
    """
    try:
        with open(path, "r+", encoding="utf-8") as file:
            text = with_entries(file.read(), addresses, names, extra)
            file.seek(0)
            file.truncate()
            file.write(text)
    except (OSError, UnicodeDecodeError) as exc:
        raise LocalError(f"the container is attached, but its hosts file {path} cannot be rewritten: {exc}") from exc


def with_entries(text: str, addresses: Sequence[str], names: Sequence[str], extra: Sequence[str]) -> str:
    """Return the text of a hosts file with our block at its end."""
    block = [f"{address}\t{' '.join(_spellings(names))}" for address in addresses if names]
    for word in extra:
        name, colon, address = word.partition(":")
        if not name or not colon:
            raise LocalError(f"--add-host {word!r} should be NAME:ADDRESS")
        block.append(f"{parse_address(address)}\t{name}")
    kept = _without_block(text.splitlines())
    return "\n".join([*kept, BEGIN, *block, END, ""]) if block else "\n".join([*kept, ""])


def _spellings(names: Sequence[str]) -> list[str]:
    """Return each name in full, then short."""
    return list(dict.fromkeys(word for name in names for word in (name, name.partition(".")[0])))


def _without_block(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    is_inside = False
    for line in lines:
        if line == BEGIN:
            is_inside = True
        if not is_inside:
            kept.append(line)
        if line == END:
            is_inside = False
    return kept
