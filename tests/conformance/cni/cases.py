"""What the specification asks, a function each: it is given a plugin and a version, and raises `AssertionError`.

`CASES` is the table. A case says in which versions it makes sense; one that does not depend on the version runs in the
newest that the plugin knows.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any

from tests.conformance.cni.plugin import ALL_VERSIONS, Container, Plugin, container, nothing_leaks

CHECKING = ("0.4.0", "1.0.0", "1.1.0")
WITH_INTERFACES = ("0.3.0", "0.3.1", *CHECKING)
NEWEST = ("newest",)
COLLECTING = ("1.1.0",)
AT_ONCE = 50
WORKERS = 16

Check = Callable[[Plugin, str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One behaviour."""

    name: str
    check: Check
    versions: Sequence[str]

    def applies(self, plugin: Plugin) -> list[str]:
        """Return the versions in which to run it with this plugin."""
        wanted = [plugin.newest] if self.versions == NEWEST else self.versions
        able = [version for version in wanted if version in plugin.versions]
        needs = {status_down: plugin.down is not None, add_two_interfaces: plugin.can_twice}
        return able if needs.get(self.check, True) else []


# -- ADD -----------------------------------------------------------------------------------------------------------


def addresses_of(result: Any) -> list[str]:
    """Return the addresses of a result of any version."""
    if "ips" in result:
        return [item["address"] for item in result["ips"]]
    return [result[key]["ip"] for key in ("ip4", "ip6") if key in result]


def add(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        result = made.add()
        assert result["cniVersion"] == version
        assert sorted(addresses_of(result)) == sorted(made.addresses())
        _check_shape(made, version)


def _check_shape(made: Container, version: str) -> None:
    result = made.result
    if version not in WITH_INTERFACES:
        assert set(result) <= {"cniVersion", "ip4", "ip6", "dns"}, result
        assert result["ip4"]["routes"][0]["dst"] == "0.0.0.0/0"
        return
    assert set(result) <= {"cniVersion", "interfaces", "ips", "routes", "dns"}, result
    [inside] = [item for item in result["interfaces"] if item.get("sandbox")]
    [link] = json.loads(made.ip("-j", "link", "show", "dev", made.interface))
    assert (inside["name"], inside["mac"]) == (made.interface, link["address"])
    assert inside["sandbox"] == f"/run/netns/{made.netns}"
    assert "mtu" not in inside or (version == "1.1.0" and inside["mtu"] == link["mtu"])
    for item in result["ips"]:
        assert result["interfaces"][item["interface"]] == inside
        assert ip_interface(item["address"])
        assert ("version" in item) == (version not in ("1.0.0", "1.1.0"))
    routes = json.loads(made.ip("-j", "route", "show", "default"))
    assert routes[0]["gateway"] == result["routes"][0].get("gw", result["ips"][0]["gateway"])


def add_twice(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        before = made.addresses()
        made.call("ADD").check_failure()
        assert made.addresses() == before, "a refused ADD changed what was there"
        made.delete().check_success()
        assert not made.has_interface()


def add_where_the_interface_is_taken(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.ip("link", "add", made.interface, "type", "veth", "peer", "name", "other")
        made.call("ADD").check_failure()
        assert json.loads(made.ip("-j", "link", "show", made.interface))[0]["link"] == "other"
        made.ip("link", "delete", made.interface)


def add_in_no_namespace(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.call("ADD", CNI_NETNS="/run/netns/there-is-no-such").check_failure()


def add_two_interfaces(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        second = Container(plugin, version, made.ident, made.netns, "net1")
        second.extra = {"isDefaultGateway": False, "ipam": _without_routes(plugin)}
        second.add()
        assert made.addresses() != second.addresses()
        second.delete().check_success()
        assert not second.has_interface()
        assert made.has_interface()
        made.delete().check_success()


def _without_routes(plugin: Plugin) -> dict[str, Any]:
    return {key: value for key, value in plugin.configuration.get("ipam", {}).items() if key != "routes"}


def add_many_at_once(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), ExitStack() as stack, ThreadPoolExecutor(WORKERS) as pool:
        made = list(pool.map(lambda _: stack.enter_context(container(plugin, version)), range(AT_ONCE)))
        results = list(pool.map(Container.add, made))
        seen = [address for result in results for address in addresses_of(result)]
        assert len(set(seen)) == AT_ONCE
        for said in pool.map(Container.delete, made):
            said.check_success()


# -- DEL -----------------------------------------------------------------------------------------------------------


def delete(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        assert made.delete().check_success().stdout == ""
        assert not made.has_interface()
        made.add()
        made.delete().check_success()


def delete_twice(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        made.delete().check_success()
        made.delete().check_success()


def delete_unknown(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.delete().check_success()


def delete_without_netns(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        made.later("DEL", CNI_NETNS=None).check_success()


def delete_with_empty_netns(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        made.later("DEL", CNI_NETNS="").check_success()


def delete_after_the_namespace(plugin: Plugin, version: str) -> None:
    from weave.lab import kernel

    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        assert made.netns is not None
        kernel.delete_namespace(made.netns)
        made.delete().check_success()


def delete_after_the_interface(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        made.ip("link", "delete", made.interface)
        made.delete().check_success()


# -- CHECK ---------------------------------------------------------------------------------------------------------


def check(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.add()
        assert made.later("CHECK").check_success().stdout == ""
        made.ip("address", "add", "192.0.2.77/32", "dev", made.interface)
        made.later("CHECK").check_success()


def check_without_result(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.add()
        made.call("CHECK").check_failure()


def check_after_losing_the_route(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.add()
        made.ip("route", "delete", "default")
        made.later("CHECK").check_failure()


def check_after_losing_the_address(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.add()
        made.ip("address", "flush", "dev", made.interface, "scope", "global")
        made.later("CHECK").check_failure()


def check_after_losing_the_interface(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.add()
        made.ip("link", "delete", made.interface)
        made.later("CHECK").check_failure()


def check_in_a_version_without(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.add()
        made.later("CHECK").check_failure(1)


# -- STATUS, GC ----------------------------------------------------------------------------------------------------


def status(plugin: Plugin, version: str) -> None:
    said = plugin.call({"CNI_COMMAND": "STATUS", "CNI_PATH": plugin.path}, json.dumps(plugin.conf(version)))
    assert said.check_success().stdout == ""


def status_down(plugin: Plugin, version: str) -> None:
    assert plugin.down is not None
    with plugin.down():
        said = plugin.call({"CNI_COMMAND": "STATUS", "CNI_PATH": plugin.path}, json.dumps(plugin.conf(version)))
        assert said.check_failure().value["code"] in (50, 51)


def _collect(plugin: Plugin, version: str, *valid: Container, name: str | None = None) -> None:
    kept = [{"containerID": made.ident, "ifname": made.interface} for made in valid]
    conf = plugin.conf(version, **{"cni.dev/valid-attachments": kept})
    if name is not None:
        conf["name"] = name
    said = plugin.call({"CNI_COMMAND": "GC", "CNI_PATH": plugin.path}, json.dumps(conf))
    assert said.check_success().stdout == ""


def collect_some(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as kept, container(plugin, version) as stale:
        kept.add()
        stale.add()
        _collect(plugin, version, kept)
        kept.later("CHECK").check_success()
        stale.later("CHECK").check_failure()
        assert not stale.has_interface()


def collect_all(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as stale:
        before = plugin.held()
        stale.add()
        _collect(plugin, version)
        assert not stale.has_interface()
        assert plugin.held() == before


def collect_nothing_of_others(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made, container(plugin, version) as unknown:
        made.add()
        _collect(plugin, version, made, unknown)
        _collect(plugin, version, name="another-network")
        made.later("CHECK").check_success()


def collect_without_a_list(plugin: Plugin, version: str) -> None:
    with nothing_leaks(plugin), container(plugin, version) as made:
        made.add()
        plugin.call({"CNI_COMMAND": "GC", "CNI_PATH": plugin.path}, json.dumps(plugin.conf(version))).check_failure()
        made.later("CHECK").check_success()


# -- VERSION and nonsense ------------------------------------------------------------------------------------------


def tell_version(plugin: Plugin, version: str) -> None:
    said = plugin.call({"CNI_COMMAND": "VERSION"}, json.dumps({"cniVersion": version})).check_success().value
    assert set(plugin.versions) <= set(said["supportedVersions"])
    assert said["cniVersion"]


def missing_variable(name: str, command: str) -> Check:
    """Return the check that a call without this variable is refused with code 4, naming it."""
    def run(plugin: Plugin, version: str) -> None:
        with container(plugin, version) as made:
            said = made.call(command, **{name: None}).check_failure(4)
            assert name in said.value["msg"]
    return run


def missing_variables(plugin: Plugin, version: str) -> None:
    said = plugin.call({"CNI_COMMAND": "ADD"}, json.dumps(plugin.conf(version))).check_failure(4)
    assert [name for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH")
            if name not in said.value["msg"]] == []


def unknown_command(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.call("FROBNICATE").check_failure(4)


def bad_json(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        plugin.call(made.environment("ADD"), '{"cniVersion": ').check_failure(6)


def no_name(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        conf = {key: value for key, value in plugin.conf(version).items() if key != "name"}
        made.call("ADD", conf).check_failure(7)


def bad_name(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.call("ADD", plugin.conf(version, name="-no/name")).check_failure(7)


def bad_container(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.call("ADD", CNI_CONTAINERID="../../etc").check_failure(4)


def bad_interface(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        for name in ("a/b", "sixteen-letters-", "..", "a b"):
            made.call("ADD", CNI_IFNAME=name).check_failure(4)


def unknown_version(plugin: Plugin, version: str) -> None:
    with container(plugin, version) as made:
        made.call("ADD", plugin.conf("9.9.9")).check_failure(1)


CASES = (
    Case("ADD", add, ALL_VERSIONS),
    Case("ADD twice", add_twice, ("0.2.0", *CHECKING)),
    Case("ADD where the interface is taken", add_where_the_interface_is_taken, NEWEST),
    Case("ADD without a namespace", add_in_no_namespace, NEWEST),
    Case("ADD of two interfaces", add_two_interfaces, NEWEST),
    Case(f"ADD and DEL of {AT_ONCE} at once", add_many_at_once, NEWEST),
    Case("DEL and ADD again", delete, ("0.1.0", "0.3.1", *CHECKING)),
    Case("DEL twice", delete_twice, ("0.2.0", *CHECKING)),
    Case("DEL of what never was", delete_unknown, NEWEST),
    Case("DEL without CNI_NETNS", delete_without_netns, NEWEST),
    Case("DEL with an empty CNI_NETNS", delete_with_empty_netns, NEWEST),
    Case("DEL after the namespace went", delete_after_the_namespace, NEWEST),
    Case("DEL after the interface went", delete_after_the_interface, NEWEST),
    Case("CHECK", check, CHECKING),
    Case("CHECK without prevResult", check_without_result, NEWEST),
    Case("CHECK after losing the route", check_after_losing_the_route, CHECKING),
    Case("CHECK after losing the address", check_after_losing_the_address, NEWEST),
    Case("CHECK after losing the interface", check_after_losing_the_interface, NEWEST),
    Case("CHECK before 0.4.0", check_in_a_version_without, ("0.3.1",)),
    Case("STATUS", status, COLLECTING),
    Case("STATUS while nothing can be added", status_down, COLLECTING),
    Case("GC of some", collect_some, COLLECTING),
    Case("GC of all", collect_all, COLLECTING),
    Case("GC of another network, and of what is unknown", collect_nothing_of_others, COLLECTING),
    Case("GC without a list", collect_without_a_list, COLLECTING),
    Case("VERSION", tell_version, ("0.1.0", "1.0.0", "1.1.0")),
    *(Case(f"ADD without {name}", missing_variable(name, "ADD"), NEWEST)
      for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH")),
    *(Case(f"DEL without {name}", missing_variable(name, "DEL"), NEWEST)
      for name in ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH")),
    Case("ADD without any variable", missing_variables, NEWEST),
    Case("an unknown command", unknown_command, NEWEST),
    Case("input that is no JSON", bad_json, NEWEST),
    Case("a network without a name", no_name, NEWEST),
    Case("a network with a bad name", bad_name, NEWEST),
    Case("a bad container id", bad_container, NEWEST),
    Case("a bad interface name", bad_interface, NEWEST),
    Case("an unknown version", unknown_version, NEWEST),
)
