"""Hear from the kernel when somebody removes what is ours, so that it is put back at once.

Two sockets that only listen, one for devices and entries, one for nftables. The notices say that it is time to look,
not what to do: whoever waits here reads the kernel and repairs the difference. Notices that were lost (the socket
overran) are a reason to look as well.
"""

import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net.limits import DAMAGE_SETTLES_S, NOTICES_GATHER_S
from weave.net.namespace import run_there
from weave.net.notices import Ours, is_firewall_damage, is_route_damage
from weave.netlink.codec import Reply, split_datagram
from weave.netlink.connection import NetlinkFailure
from weave.netlink.constants import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NFNLGRP_NFTABLES,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
)
from weave.netlink.listener import NOTICE_BYTES, drain, listen

log = logging.getLogger("weave.net")

_ROUTE_GROUPS = (RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR)


class Watch:
    """Own the two sockets; `damage` returns when something of ours was removed or altered."""

    def __init__(self, namespace: int | None, ours: Callable[[], Ours]) -> None:
        """Listen in a network namespace from now on."""
        self._ours = ours
        self._route = run_there(namespace, partial(listen, NETLINK_ROUTE, _ROUTE_GROUPS))
        self._firewall = run_there(namespace, partial(listen, NETLINK_NETFILTER, (NFNLGRP_NFTABLES,)))

    def close(self) -> None:
        """Stop listening."""
        self._route.close()
        self._firewall.close()

    async def damage(self) -> None:
        """Return once something of ours was removed and the storm, if it was one, is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, self._route, nursery.cancel_scope)
            nursery.start_soon(self._hear, self._firewall, nursery.cancel_scope)
        await trio.sleep(DAMAGE_SETTLES_S)
        for listener in (self._route, self._firewall):
            drain(listener)

    async def _hear(self, listener: socket.socket, heard: trio.CancelScope) -> None:
        judge = self._is_route_damage if listener is self._route else is_firewall_damage
        while True:
            await trio.lowlevel.wait_readable(listener)
            await trio.sleep(NOTICES_GATHER_S)
            with suppress(BlockingIOError):
                while True:
                    if _tells_damage(listener, judge):
                        heard.cancel()
                        return
                    await trio.lowlevel.checkpoint()

    def _is_route_damage(self, notice: Reply) -> bool:
        return is_route_damage(notice, self._ours())


def _tells_damage(listener: socket.socket, judge: Callable[[Reply], bool]) -> bool:
    """Take the notices that came together and say whether one is of damage; what was lost may have been."""
    try:
        notices = split_datagram(listener.recv(NOTICE_BYTES))
    except BlockingIOError:
        raise
    except OSError as exc:
        if exc.errno == errno.ENOBUFS:
            return True
        raise NetlinkFailure("hear what changes in the kernel", exc.errno or 0) from exc
    return any(_judged(judge, notice) for notice in notices)


def _judged(judge: Callable[[Reply], bool], notice: Reply) -> bool:
    """Ask the judge; what a newer kernel lays out in another way is a reason to look, not to fail."""
    try:
        return judge(notice)
    except EnvironmentFailure as exc:
        log.debug("notice of the kernel not understood", extra=fields(kind=notice.kind, reason=exc))
        return True
