"""Containers come and go by `weave attach` and `weave detach`: addresses, interfaces, and nothing left of failures."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

import pytest

from tests.lab.world import LAB, Box, World, names_of
from weave.api.client import Refused
from weave.lab import kernel

pytestmark = LAB
RANGE = ip_network("10.32.0.0/12")


@pytest.fixture
def box(shared: World) -> Iterator[Box]:
    with shared.box("h1", "box") as made:
        yield made


def addresses_held(shared: World, host: str) -> dict[str, list[str]]:
    """Return who holds which addresses on a host, as the allocator knows it."""
    owned = shared.lab.client(host).value("GET", "ip")
    assert isinstance(owned, dict)
    return {row["containerid"]: row["addrs"] for row in owned["owned"]}


def test_attach_by_name_path_and_process_means_the_same_namespace(shared: World, box: Box) -> None:
    by_name = shared.weave("h1", "attach", box.netns).strip()
    assert ip_address(by_name) in RANGE
    assert box.addresses() == [f"{by_name}/12"]
    assert shared.weave("h1", "attach", str(box.path)).strip() == by_name
    with box.running("sleep", "60") as process:
        by_pid = shared.weave("h1", "attach", f"pid:{process.pid}", "--interface", "eth1").strip()
        assert box.addresses("eth1") == [f"{by_pid}/12"]
        assert by_pid != by_name
        assert shared.weave("h1", "detach", f"pid:{process.pid}").strip() == by_pid


def test_attach_twice_changes_nothing(shared: World, box: Box) -> None:
    first = shared.weave("h1", "attach", "--json", box.netns)
    state = box.run("ip", "-d", "address"), box.run("ip", "route")
    assert shared.weave("h1", "attach", "--json", box.netns) == first
    assert (box.run("ip", "-d", "address"), box.run("ip", "route")) == state
    assert addresses_held(shared, "h1")[box.netns] == json.loads(first)["addresses"]


def test_explicit_addresses_are_taken_and_given_to_nobody_else(shared: World, box: Box) -> None:
    assert shared.weave("h1", "attach", "10.40.77.9/12", "ip:10.40.77.10/12", box.netns).split() == [
        "10.40.77.9", "10.40.77.10"]
    assert box.addresses() == ["10.40.77.9/12", "10.40.77.10/12"]
    with shared.box("h2", "other") as other:
        assert "10.40.77.9" in shared.refused("h2", "attach", "10.40.77.9/12", other.netns)
        assert other.run("ip", "-br", "link").split()[0] == "lo"
        assert other.netns not in addresses_held(shared, "h2")
    assert shared.weave("h1", "detach", "10.40.77.10/12", box.netns).split() == ["10.40.77.10"]
    assert box.addresses() == ["10.40.77.9/12"]


def test_addresses_of_subnets(shared: World, box: Box) -> None:
    one, two = shared.weave("h1", "attach", "net:10.35.7.0/24", "net:default", box.netns).split()
    assert ip_address(one) in ip_network("10.35.7.0/24")
    assert box.addresses() == sorted([f"{one}/24", f"{two}/12"], key=lambda text: ip_address(text.partition("/")[0]))
    assert "10.99.0.0/24" in shared.refused("h1", "attach", "net:10.99.0.0/24", box.netns)


def test_several_interfaces_of_one_container_come_and_go_alone(shared: World, box: Box) -> None:
    first = shared.weave("h1", "attach", box.netns).strip()
    second = shared.weave("h1", "attach", "--interface", "ethwe2", box.netns).strip()
    assert (box.addresses(), box.addresses("ethwe2")) == ([f"{first}/12"], [f"{second}/12"])
    assert shared.weave("h1", "ps").count(box.netns) == 2
    assert shared.weave("h1", "detach", "--interface", "ethwe2", box.netns).strip() == second
    assert "ethwe2" not in box.run("ip", "-br", "link")
    assert box.addresses() == [f"{first}/12"]


def test_mac_mtu_and_default_route_are_as_asked(shared: World, box: Box) -> None:
    shared.weave("h1", "attach", "--mac", "02:42:ac:11:00:99", "--mtu", "1400", "--default-route", box.netns)
    [link] = json.loads(box.run("ip", "-j", "link", "show", "dev", "ethwe"))
    assert (link["address"], link["mtu"]) == ("02:42:ac:11:00:99", 1400)
    [route] = json.loads(box.run("ip", "-j", "route", "show", "default"))
    assert f"{route['gateway']}/12" in shared.report("h1")["Bridge"]["Addresses"]
    shared.wait("h3", lambda seen: any(row["MAC"] == "02:42:ac:11:00:99" for row in seen["Endpoints"]),
                "does not hear of the MAC")


def test_an_interface_of_that_name_in_the_way_is_named(shared: World, box: Box) -> None:
    box.run("ip", "link", "add", "ethwe", "type", "veth", "peer", "name", "other")
    assert "choose another name" in shared.refused("h1", "attach", box.netns)
    assert box.netns not in addresses_held(shared, "h1")


def test_detach_takes_everything_back_and_the_address_rests(shared: World, box: Box) -> None:
    address = shared.weave("h1", "attach", "-h", "box", box.netns).strip()
    assert shared.weave("h1", "dns-lookup", "box").strip() == address
    assert shared.weave("h1", "detach", box.netns).strip() == address
    assert "ethwe" not in box.run("ip", "-br", "link")
    assert "box" not in names_of(shared.report("h1"))
    assert box.netns not in shared.weave("h1", "ps")
    assert shared.weave("h1", "attach", box.netns).strip() != address, "neighbours may still remember it"
    shared.weave("h1", "detach", box.netns)
    assert shared.weave("h1", "detach", box.netns).strip() == "", "detaching what is gone succeeds"


def test_a_namespace_deleted_without_a_word_is_swept(shared: World, box: Box) -> None:
    address = shared.weave("h1", "attach", "-h", "swept", box.netns).strip()
    for host in ("h2", "h3"):
        shared.wait(host, lambda seen: names_of(seen).get("swept") == address, "does not hear of the name")
    kernel.delete_namespace(box.netns)
    for host in ("h1", "h2", "h3"):
        shared.wait(host, lambda seen: "swept" not in names_of(seen) and all(
            row["ContainerID"] != box.netns for row in seen["Endpoints"]), "still knows the container", 10.0)
    assert box.netns not in addresses_held(shared, "h1")


def test_a_failed_attach_leaves_nothing(shared: World) -> None:
    before = addresses_held(shared, "h1")
    links = shared.inside("h1", "ip", "-br", "link")
    assert "no container 'nowhere'" in shared.refused("h1", "attach", "nowhere")
    assert "is not running" in shared.refused("h1", "attach", "/run/netns/nowhere")
    with pytest.raises(Refused, match="cannot open the network namespace"):
        shared.lab.client("h1").call("PUT", "attachment", "nowhere", body={"netns": "/run/netns/nowhere",
                                                                          "fqdns": ["nowhere.weave.local."]})
    with pytest.raises(Refused, match="no network namespace"):
        shared.lab.client("h1").call("PUT", "attachment", "nowhere", body={"netns": "/etc/hostname"})
    assert addresses_held(shared, "h1") == before
    assert shared.inside("h1", "ip", "-br", "link") == links
    assert "nowhere" not in names_of(shared.report("h1"))


def test_the_namespace_of_the_host_itself_is_refused(shared: World) -> None:
    before = addresses_held(shared, "h1")
    said = shared.refused("h1", "attach", f"pid:{shared.pid('h1')}")
    assert "weave expose" in said
    assert addresses_held(shared, "h1") == before
    assert "ethwe" not in shared.inside("h1", "ip", "-br", "link")


def test_ps_lists_what_is_attached_and_the_host(shared: World, box: Box) -> None:
    address = shared.weave("h1", "attach", box.netns).strip()
    rows = [line.split() for line in shared.weave("h1", "ps").splitlines()]
    assert [row[0] for row in rows] == ["weave:expose", box.netns]
    [link] = json.loads(box.run("ip", "-j", "link", "show", "dev", "ethwe"))
    assert rows[1][1:] == [link["address"], f"{address}/12"]
    assert json.loads(shared.weave("h1", "ps", "--json", box.netns))[0]["addresses"] == [f"{address}/12"]
    assert box.netns not in shared.weave("h2", "ps")


def test_thirty_containers_at_once_on_three_hosts_get_thirty_addresses(shared: World) -> None:
    places = [(f"h{1 + number % 3}", f"p{number}") for number in range(30)]
    with ExitStack() as stack:
        boxes = [(host, stack.enter_context(shared.box(host, name))) for host, name in places]
        with ThreadPoolExecutor(len(boxes)) as pool:
            answers = list(pool.map(lambda place: shared.attach(*place), boxes))
        assert len({address for address, _ in answers}) == 30
        assert len({mac for _, mac in answers}) == 30
        shared.agreed("h1", "h2", "h3")
        here, there = boxes[0][1], boxes[1][1]
        assert "1 received" in here.run("ping", "-c1", "-W2", there.addresses()[0].partition("/")[0])


def test_output_of_attach_is_one_line_and_errors_go_elsewhere(shared: World, box: Box) -> None:
    done: subprocess.CompletedProcess[str]
    done = shared.lab.execute("h1", "weave", "attach", "--without-dns", box.netns)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    done = shared.lab.execute("h1", "weave", "attach", "10.40.0.0.9/12", box.netns)
    assert (done.returncode, done.stdout) == (1, "")
    done = shared.lab.execute("h1", "weave", "attach", "--nonsense")
    assert done.returncode == 2


def test_labels_are_known_on_every_host_and_to_who_watches(shared: World, box: Box) -> None:
    client = shared.lab.client("h1")
    before = client.value("GET", "endpoints")
    assert isinstance(before, dict)
    shared.weave("h1", "attach", "--label", "weave.local/namespace=shop", "--label", "app=web", box.netns)
    labels = {"app": "web", "weave.local/namespace": "shop"}
    seen = client.value("GET", "endpoints", query={"after": str(before["generation"])})
    assert isinstance(seen, dict)
    assert seen["generation"] != before["generation"]
    [endpoint] = [row for row in seen["endpoints"] if row["container"] == box.netns]
    assert (endpoint["labels"], endpoint["local"], endpoint["interface"]) == (labels, True, "ethwe")
    shared.wait("h2", lambda report: any(row["Labels"] == labels for row in report["Endpoints"]
                                         if row["ContainerID"] == box.netns), "labels of a container on h1")
    [attachment] = json.loads(shared.weave("h1", "ps", "--json", box.netns))
    assert attachment["labels"] == labels
