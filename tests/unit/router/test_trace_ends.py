"""Which interfaces the words of a trace mean."""

import pytest

from tests.unit.api.fake import ME, YOU, report
from weave.api.errors import NotFound
from weave.api.report import EndpointReport, Report
from weave.errors import LocalError
from weave.router.trace.ends import find_ends


def endpoint(container: str, *addresses: str, local: bool = False, **labels: str) -> EndpointReport:
    return {"MAC": "02:00:00:00:00:09", "Addresses": list(addresses), "ContainerID": container, "Interface": "ethwe",
            "Peer": ME if local else YOU, "NickName": "h1" if local else "h2", "Local": local,
            "Labels": {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}}


def network(*more: EndpointReport) -> Report:
    told = report()
    told["Endpoints"] += [endpoint("weave:expose", "10.32.0.1/12", local=True), *more]
    return told


@pytest.mark.parametrize(("word", "address"), [
    ("10.40.0.1", "10.40.0.1"),
    ("c2", "10.40.0.1"),
    ("C2.weave.local", "10.40.0.1"),
    ("c2.weave.local.", "10.40.0.1"),
    ("beef" * 16, "10.40.0.1"),
    ("beefb", "10.40.0.1"),
    ("host", "10.32.0.1"),
    ("h1", "10.32.0.1"),
    (ME, "10.32.0.1"),
    ("default/" + "beef" * 16, "10.40.0.1"),
    ("shop/web", "10.40.0.7"),
    ("lab/printer", "10.40.0.8"),
    ("10.32.0.99", "10.32.0.99"),
    ("192.0.2.1", "192.0.2.1"),
])
def test_a_word_means_an_end(word: str, address: str) -> None:
    told = network(
        endpoint("4711", "10.40.0.7/12", io_kubernetes_pod_namespace="shop", io_kubernetes_pod_name="web"),
        endpoint("printer", "10.40.0.8/12", weave_local__namespace="lab"))
    one, other = find_ends(told, "10.32.0.9", word)
    assert (str(one.address), str(other.address), other.word) == ("10.32.0.9", address, word)
    assert (other.endpoint is None) == (address in ("10.32.0.99", "192.0.2.1"))


@pytest.mark.parametrize(("source", "destination", "sentence"), [
    ("c1", "nobody", "'nobody' is no address, host, pod, container or name"),
    ("c1", "shop/web", "'shop/web' is no address"),
    ("c1", "be", "'be' is no address"),
    ("192.0.2.1", "c1", "nobody on the network has 192.0.2.1, and a trace begins at a container or a host"),
    ("c2", "10.40.0.1", "c2 and 10.40.0.1 are the same"),
    ("c2", "fd00::1", "c2 and fd00::1 have no address family in common"),
    ("c1", "six", "c1 and six have no address family in common"),
    ("c1", "twin", "2 containers are called twin...: twin-a, twin-b; say which"),
])
def test_what_means_nothing_is_refused(source: str, destination: str, sentence: str) -> None:
    told = network(endpoint("six", "fd00::7/64"),
                   endpoint("twin-a", "10.40.0.3/12"), endpoint("twin-b", "10.40.0.4/12"))
    with pytest.raises(LocalError, match=sentence.replace("?", r"\?")):
        find_ends(told, source, destination)


def test_a_host_that_is_not_exposed_is_told_how() -> None:
    with pytest.raises(NotFound, match="weave expose"):
        find_ends(report(), "c1", "host")


@pytest.mark.parametrize("word", ["h2", "7a:00:00:00:00:02"])
def test_a_peer_that_is_not_exposed_is_told_how(word: str) -> None:
    told = report()
    told["Router"]["Peers"][0]["NickName"], told["Router"]["Peers"][0]["Name"] = "h2", "7a:00:00:00:00:02"
    with pytest.raises(NotFound, match=f"the host {word} has no address on the network; `weave expose` there"):
        find_ends(told, "c1", word)


def test_a_name_is_looked_for_only_where_names_are_answered() -> None:
    with pytest.raises(NotFound):
        find_ends(report(DNS=None), "10.32.0.9", "c2")


def test_addresses_of_one_subnet_go_before_those_of_one_family() -> None:
    told = network(endpoint("many", "fd00::8/64", "10.99.0.8/24", "10.33.0.8/12"))
    one, other = find_ends(told, "c1", "many")
    assert (str(one.address), str(other.address)) == ("10.32.0.10", "10.33.0.8")


def test_a_name_of_several_containers_is_traced_to_one_that_is_reachable() -> None:
    told = network()
    assert told["DNS"] is not None
    told["DNS"]["Entries"].append({"Hostname": "c2.weave.local.", "Origin": ME, "ContainerID": "c0ffee",
                                   "Address": "10.32.0.9", "Reachable": True})
    assert str(find_ends(told, "host", "c2")[1].address) == "10.32.0.9"


def test_addresses_of_one_container_can_be_traced() -> None:
    assert [str(end.address) for end in find_ends(network(), "10.32.0.9", "10.32.0.10")] == ["10.32.0.9", "10.32.0.10"]
