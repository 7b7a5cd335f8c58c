"""Results in every version: what is written is read again, and each has the shape of its version."""

import json
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.cni.errors import CniError
from weave.cni.reading import Fields
from weave.cni.result import Address, Dns, Interface, Result, Route, read_result, result_value
from weave.cni.versions import VERSIONS

FULL = Result(
    (Interface("weave", "02:00:00:00:00:01", 1450), Interface("eth0", "02:00:00:00:00:02", 1450, "/run/netns/a")),
    (Address(ip_interface("10.32.0.5/12"), ip_address("10.32.0.1"), 1),
     Address(ip_interface("fd00::5/64"), ip_address("fd00::1"), 1)),
    (Route(ip_network("0.0.0.0/0"), ip_address("10.32.0.1")), Route(ip_network("::/0"), None, {"mtu": 1300})),
    Dns(("10.32.0.1",), "weave.local", ("weave.local",), ("ndots:1",)))


def again(result: Result, version: str) -> Result:
    return read_result(Fields(json.loads(json.dumps(result_value(result, version)))))


def test_the_newest_version_says_everything() -> None:
    assert again(FULL, "1.1.0") == FULL


@pytest.mark.parametrize("version", VERSIONS)
def test_addresses_gateways_and_resolvers_are_in_every_version(version: str) -> None:
    read = again(FULL, version)
    assert [(item.interface, item.gateway) for item in read.addresses] == [
        (item.interface, item.gateway) for item in FULL.addresses]
    assert [route.destination for route in read.routes] == [route.destination for route in FULL.routes]
    assert read.dns == FULL.dns


def test_shapes_of_the_versions() -> None:
    oldest, middle, newer = (result_value(FULL, version) for version in ("0.2.0", "0.4.0", "1.0.0"))
    assert oldest["ip4"] == {"ip": "10.32.0.5/12", "gateway": "10.32.0.1",
                             "routes": [{"dst": "0.0.0.0/0", "gw": "10.32.0.1"}]}
    assert set(oldest) == {"cniVersion", "ip4", "ip6", "dns"}
    assert middle["ips"][1] == {"version": "6", "interface": 1, "address": "fd00::5/64", "gateway": "fd00::1"}  # type: ignore[index]
    assert newer["ips"][1] == {"interface": 1, "address": "fd00::5/64", "gateway": "fd00::1"}  # type: ignore[index]
    assert newer["interfaces"][0] == {"name": "weave", "mac": "02:00:00:00:00:01"}  # type: ignore[index]
    assert newer["routes"][1] == {"dst": "::/0"}  # type: ignore[index]


def test_of_many_addresses_an_old_version_tells_the_first_of_each_family() -> None:
    two = Result(addresses=(Address(ip_interface("10.32.0.5/12")), Address(ip_interface("10.32.0.6/12"))))
    assert [str(item.interface) for item in again(two, "0.2.0").addresses] == ["10.32.0.5/12"]


def test_chained_results_keep_their_indices_apart() -> None:
    later = Result((Interface("net1", sandbox="/x"),), (Address(ip_interface("192.0.2.1/24"), None, 0),))
    both = FULL.followed_by(later)
    assert [item.index for item in both.addresses] == [1, 1, 2]
    assert both.dns == FULL.dns


@pytest.mark.parametrize("value", [
    {"ips": [{}]}, {"ips": [{"address": "10.0.0.1"}]}, {"ips": [{"address": "10.0.0.1/8", "interface": 0}]},
    {"ips": {}}, {"ips": [1]}, {"routes": [{"gw": "10.0.0.1"}]}, {"routes": [{"dst": "0.0.0.0/0", "gw": "fd00::1"}]},
    {"interfaces": [{"name": 1}]}, {"ip4": {"gateway": "10.0.0.1"}}, {"ip4": []}, {"dns": {"nameservers": "x"}},
    {"interfaces": [{"mtu": -1}]}, {"ips": [{"address": "10.0.0.1/8\n"}]},
])
def test_what_is_no_result_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(CniError) as refusal:
        read_result(Fields(value))
    assert refusal.value.code == 7


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(["ips", "address", "interfaces", "ip4", "ip", "routes", "dst",
                                                         "gw", "dns", "name"]), inner, max_size=4), max_leaves=12))
def test_a_reader_raises_one_type(value: object) -> None:
    try:
        read_result(Fields(value if isinstance(value, dict) else {"ips": value}))
    except CniError:
        return
