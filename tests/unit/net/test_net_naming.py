"""Names and MACs follow from their owners; what cannot be a name is refused in words."""

import pytest

from weave.errors import LocalError
from weave.names import PeerName
from weave.net import naming

A, B = PeerName("02:00:00:00:00:0a"), PeerName("02:00:00:00:00:0b")


def test_the_hosts_end_fits_an_interface_name_and_tells_its_owner() -> None:
    name = naming.host_interface("c" * 64, "eth0")
    assert len(name) == 14
    assert naming.owner_of(name, naming.alias("c" * 64, "eth0")) == ("c" * 64, "eth0")


@pytest.mark.parametrize("alias", ["", "eth0", "other eth0", "c1 eth1", "c1 eth0 more"])
def test_an_alias_that_does_not_fit_the_name_is_not_ours(alias: str) -> None:
    assert naming.owner_of(naming.host_interface("c1", "eth0"), alias) is None


def test_macs_are_local_single_stable_and_differ_by_owner() -> None:
    macs = [naming.container_mac(container, interface, peer)
            for container in ("c1", "c2") for interface in ("eth0", "eth1") for peer in (A, B)]
    assert len(set(macs)) == 8
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)
    assert macs[0] == naming.container_mac("c1", "eth0", A)


def test_the_bridge_has_the_mac_of_its_peer() -> None:
    assert naming.bridge_mac(A) == A


@pytest.mark.parametrize("name", ["", "lo", ".", "..", "a" * 16, "a/b", "a b", "a:b", "a%d", "a\tb", "üüüüüüüü"])
def test_a_bad_interface_name_is_refused(name: str) -> None:
    with pytest.raises(LocalError, match="eth0 or ethwe"):
        naming.check_interface(name)


@pytest.mark.parametrize("container", ["", "a b", "a\nb", "x" * 201, "é" * 101])
def test_a_bad_container_id_is_refused(container: str) -> None:
    with pytest.raises(LocalError, match="no container id"):
        naming.check_container(container)


@pytest.mark.parametrize("mac", ["", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00", "ff:ff:ff:ff:ff:ff"])
def test_a_mac_no_interface_may_have_is_refused(mac: str) -> None:
    with pytest.raises(LocalError, match="no MAC"):
        naming.check_mac(mac)


def test_a_mac_is_taken_as_people_write_it() -> None:
    assert naming.check_mac(" 7A-9F-EB-B6-0C-6E ") == "7a:9f:eb:b6:0c:6e"
