"""Give XFRM associations and policies, and hear what it says of them. Blocking, but for `listen`."""

import errno
import logging
import socket
from collections.abc import Callable, Collection, Mapping

import trio

from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net.crypt.pact_messages import Way
from weave.net.ipsec.plan import Place, PolicyChange, missing, orphans, plan_policies
from weave.net.namespace import run_there
from weave.netlink import constants as nl
from weave.netlink import listener, xfrm
from weave.netlink.codec import Message, split_datagram
from weave.netlink.connection import RECEIVE_BYTES, Netlink, NetlinkFailure
from weave.netlink.xfrm import Acquire, Association, AssociationState, Expired, PolicyKey, PolicyState

log = logging.getLogger("weave.net")

_GONE = frozenset({errno.ENOENT, errno.ESRCH})


class Ipsec:
    """Own our associations and policies in one network namespace."""

    def __init__(self, namespace: int | None) -> None:
        self._netlink = run_there(namespace, lambda: Netlink(nl.NETLINK_XFRM))
        self._namespace = namespace

    def close(self) -> None:
        """Close the socket; associations and policies stay and carry on."""
        self._netlink.close()

    def install(self, association: Association) -> None:
        """Add an association."""
        self._netlink.run([xfrm.add_association(association)],
                          f"install an ESP association to {association.destination}")

    def drop(self, place: Place) -> None:
        """Remove an association; one that is gone already is no failure."""
        self._remove(xfrm.delete_association(*place), f"remove an ESP association to {place[0]}")

    def settle(self, wanted: Mapping[PolicyKey, int], kept: Collection[Way]) -> PolicyChange:
        """Make the policies as wanted; return what had to be changed."""
        change = plan_policies(wanted, self.policies(), kept)
        if change.wanted:
            self._netlink.run([xfrm.set_policy(key, spi) for key, spi in change.wanted], "set an IPsec policy")
        for key in change.gone:
            self._remove(xfrm.delete_policy(key), "remove an IPsec policy")
        return change

    def sweep(self, known: Collection[Place], kept: Collection[Way]) -> set[Place]:
        """Remove associations of ours that nobody speaks for; return those of `known` that are not there."""
        actual = self.associations()
        for place in orphans(actual, known, kept):
            self.drop(place)
        return missing(actual, known)

    def associations(self) -> list[AssociationState]:
        """Return the associations of the kernel, ours and others'."""
        return [xfrm.read_association(body) for body in
                self._netlink.dump(xfrm.dump_associations(), "list IPsec associations")]

    def policies(self) -> list[PolicyState]:
        """Return the policies of the kernel that are of our kind."""
        found = map(xfrm.read_policy, self._netlink.dump(xfrm.dump_policies(), "list IPsec policies"))
        return [policy for policy in found if policy is not None]

    def wipe(self) -> None:
        """Remove everything of ours."""
        self.settle({}, ())
        self.sweep((), ())

    def _remove(self, message: Message, subject: str) -> None:
        for refusal in self._netlink.attempt([message]):
            if refusal.code not in _GONE:
                raise NetlinkFailure(subject, refusal.code, refusal.reason)


def open_monitor() -> socket.socket:
    """Return a socket, in the namespace of the calling thread, on which the kernel tells what wears out or lacks."""
    return listener.listen(nl.NETLINK_XFRM, (xfrm.XFRMNLGRP_ACQUIRE, xfrm.XFRMNLGRP_EXPIRE),
                           subject="listen to the kernel's IPsec")


async def listen(monitor: socket.socket, hear: Callable[[Expired | Acquire], None]) -> None:
    """Pass on what the kernel tells; what is lost when it tells too much is found by the next sweep."""
    while True:
        await trio.lowlevel.wait_readable(monitor)
        try:
            for reply in split_datagram(monitor.recv(RECEIVE_BYTES)):
                if reply.kind == xfrm.XFRM_MSG_EXPIRE:
                    hear(xfrm.read_expire(reply.body))
                elif reply.kind == xfrm.XFRM_MSG_ACQUIRE:
                    hear(xfrm.read_acquire(reply.body))
        except OSError as exc:
            log.warning("news of IPsec were lost", extra=fields(reason=exc.strerror))
        except EnvironmentFailure as exc:
            log.warning("news of IPsec make no sense", extra=fields(reason=exc))
