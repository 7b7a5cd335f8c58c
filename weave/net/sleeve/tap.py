"""The TAP device that frames for sleeve peers leave by, as a port of the bridge.

It is persistent: it outlives the process that reads it, with its place in the bridge and its forwarding entries, so
that a sleeve that was killed and started again finds everything as it was. Frames come with a virtio header and may be
as large as 64 KiB, unsegmented and without checksums: that is what makes one sealing worth its cost.
"""

import errno
import fcntl
import os
import struct
from functools import cache

from weave.errors import EnvironmentFailure
from weave.net.sleeve.limits import TAP_HEADER

DEVICE = "/dev/net/tun"
_TUNGETFEATURES = 0x800454CF
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454CB, 0x400454D0, 0x400454D8
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_FLAGS = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
_CSUM, _TSO4, _TSO6, _ECN, _USO4, _USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40
_OFFLOADS = (_CSUM | _TSO4 | _TSO6 | _ECN | _USO4 | _USO6, _CSUM | _TSO4 | _TSO6 | _ECN)
"""What we take from the kernel; the second for kernels before 6.2."""


@cache
def has_tap() -> bool:
    """Say whether this host has TAP devices at all, as far as can be told without making one.

    That the file is there says little: without the module it cannot be opened, and neither in a container that was not
    given the device.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        answer = fcntl.ioctl(descriptor, _TUNGETFEATURES, bytes(4))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return bool(struct.unpack("I", answer)[0] & _FLAGS == _FLAGS)


def make(name: str) -> None:
    """Make the persistent device, or find it, in the network namespace of the calling thread."""
    descriptor = _open(name)
    try:
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    finally:
        os.close(descriptor)


def attach(name: str) -> tuple[int, bool]:
    """Return a descriptor that frames are read from and written to, and whether large UDP frames are among them.

    One process at a time has the device.
    """
    descriptor = _open(name)
    fcntl.ioctl(descriptor, _TUNSETVNETHDRSZ, struct.pack("i", TAP_HEADER))
    for offloads in _OFFLOADS:
        try:
            fcntl.ioctl(descriptor, _TUNSETOFFLOAD, offloads)
        except OSError:
            continue
        return descriptor, bool(offloads & _USO4)
    os.close(descriptor)
    raise EnvironmentFailure(f"the kernel hands out no large frames on {name}; Linux 4.18 or newer is needed")


def _open(name: str) -> int:
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise EnvironmentFailure(f"cannot open {DEVICE}: {exc.strerror}; load the module tun, or give the router's "
                                 "container that device") from exc
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF,
                    struct.pack("16sH22x", name.encode(), _FLAGS))
    except OSError as exc:
        os.close(descriptor)
        busy = "; another process reads it" if exc.errno == errno.EBUSY else ""
        raise EnvironmentFailure(f"cannot use the TAP device {name}: {exc.strerror}{busy}") from exc
    return descriptor
