"""Find the number of a generic netlink family. Pure.

A family has a name, and a number that the kernel gives it when its module is loaded. Asking for a family whose module
is not loaded makes the kernel load it, where it can.
"""

from struct import Struct

from weave.netlink import codec
from weave.netlink.codec import GarbledNetlink, Message, read_attributes, read_fixed

GENERIC = Struct("=BBxx")
"""genlmsghdr: command, version."""
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2
CONTROL_VERSION = 1


def get_family(name: str) -> Message:
    """Ask for the number of a family."""
    return Message(GENL_ID_CTRL, 0, GENERIC.pack(CTRL_CMD_GETFAMILY, CONTROL_VERSION)
                   + codec.text(CTRL_ATTR_FAMILY_NAME, name))


def read_family(body: bytes) -> int:
    """Read the answer to `get_family`."""
    read_fixed(GENERIC, body)
    number = read_attributes(body, GENERIC.size).get(CTRL_ATTR_FAMILY_ID, b"")
    if len(number) != 2:
        raise GarbledNetlink(f"generic netlink family with a number of {len(number)} octets")
    (found,) = Struct("=H").unpack(number)
    return int(found)
