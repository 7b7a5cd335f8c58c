"""Asking the real kernel: refusals name their message, lost and missing answers are noticed in time."""

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from weave.net.namespace import new_namespace, run_there
from weave.netlink import messages
from weave.netlink.codec import Message
from weave.netlink.connection import Netlink, NetlinkFailure, NetlinkOverrun
from weave.netlink.readings import read_link

from .hosts import LAB, Place

pytestmark = LAB
MAC = "02:00:00:00:00:01"
GOOD, BAD = messages.set_up(1), messages.set_up(99)


@pytest.fixture
def place() -> Iterator[Place]:
    descriptor = new_namespace()
    yield Place(descriptor)
    os.close(descriptor)


@pytest.fixture
def netlink(place: Place) -> Iterator[Netlink]:
    with run_there(place.descriptor, Netlink) as made:
        yield made


def option(netlink: Netlink, name: int, value: int | bytes) -> None:
    netlink._socket.setsockopt(socket.SOL_SOCKET, name, value)


def test_each_refusal_names_its_message(netlink: Netlink) -> None:
    batch = [GOOD, BAD] * 300
    refusals = netlink.attempt([*batch, GOOD])
    assert [refusal.index for refusal in refusals] == list(range(1, 600, 2))
    assert {refusal.code for refusal in refusals} == {errno.ENODEV}
    assert (netlink.sent, netlink.refused) == (601, 300)


def test_the_kernels_own_words_are_passed_on(netlink: Netlink) -> None:
    with pytest.raises(NetlinkFailure, match=r"cannot make a thing: Operation not supported \(Unknown device type\)"):
        netlink.run([messages.create_link("x", "nonsense", MAC, {})], "make a thing")


def test_a_failure_says_which_step_it_was(netlink: Netlink) -> None:
    with pytest.raises(NetlinkFailure, match="cannot do step 1: No such device"):
        netlink.run([GOOD, BAD], lambda index: f"do step {index}")


def test_lost_answers_are_noticed_and_the_socket_is_of_use_again(netlink: Netlink) -> None:
    option(netlink, socket.SO_RCVBUF, 1)
    with pytest.raises(NetlinkOverrun, match="were lost"):
        netlink.attempt([BAD] * 250)
    option(netlink, socket.SO_RCVBUF, 1 << 18)
    assert netlink.attempt([GOOD]) == []
    assert read_link(netlink.query(messages.get_link("lo"), "look up lo")).is_up


def test_a_kernel_that_does_not_answer_is_not_waited_for_long(netlink: Netlink) -> None:
    option(netlink, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 20_000))
    with pytest.raises(NetlinkFailure, match="cannot wait for nothing within"):
        netlink.query(Message(1, 0, b""), "wait for nothing")


def test_a_list_that_the_kernel_cannot_give_is_no_empty_list(netlink: Netlink) -> None:
    with pytest.raises(NetlinkFailure, match="cannot list addresses: No such device"):
        netlink.dump(messages.dump_addresses(99), "list addresses")
    assert netlink.dump(messages.dump_addresses(1), "list addresses") == []


def test_a_late_answer_is_not_taken_for_that_of_the_next_question(netlink: Netlink) -> None:
    netlink._send([messages.get_link("lo")], 0)
    with pytest.raises(NetlinkFailure, match="No such device"):
        netlink.query(messages.get_link("nothing"), "look up nothing")


def test_a_socket_stays_in_its_namespace_and_the_process_outside(place: Place, netlink: Netlink) -> None:
    netlink.run([messages.create_link("only-there", "bridge", MAC, {})], "make a bridge")
    assert "only-there" in place.run("ip", "link")
    assert "only-there" not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout


def test_without_rights_the_operator_is_told_what_to_do() -> None:
    code = ("import os\nfrom weave.netlink.connection import Netlink\nfrom weave.netlink import messages\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "Netlink().run([messages.set_mtu(1, 1500)], 'set the MTU')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cannot set the MTU: Operation not permitted" in done.stderr
    assert "run the router as root" in done.stderr
