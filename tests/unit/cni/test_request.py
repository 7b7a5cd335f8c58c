"""Requests: what executables send is read as it was, and what is missing or malformed is told with the right code."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.cni.errors import CniError
from weave.cni.request import Call, Request, Verb, decode_request, encode_request, read_call
from weave.errors import LocalError

ENVIRONMENT = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c0ffee", "CNI_NETNS": "/run/netns/a", "CNI_IFNAME": "eth0",
               "CNI_PATH": "/opt/cni/bin:/usr/lib/cni"}
CONF = {"cniVersion": "1.1.0", "name": "pods", "type": "weave-net"}


def call(conf: Any = None, **changes: str | None) -> Call:
    environment = {name: value for name, value in {**ENVIRONMENT, **changes}.items() if value is not None}
    stdin = conf if isinstance(conf, bytes) else json.dumps({**CONF, **(conf or {})}).encode()
    return read_call(Request(environment, stdin))


def refused(conf: Any = None, **changes: str | None) -> CniError:
    with pytest.raises(CniError) as refusal:
        call(conf, **changes)
    return refusal.value


def test_a_whole_request_is_understood() -> None:
    read = call(CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAME=web-0;odd;X=a=b")
    assert (read.verb, read.container, read.interface, read.netns) == (Verb.ADD, "c0ffee", "eth0", "/run/netns/a")
    assert read.args == {"IgnoreUnknown": "1", "K8S_POD_NAME": "web-0", "X": "a=b"}
    assert read.path == ("/opt/cni/bin", "/usr/lib/cni")
    assert read.conf.name == "pods"


NAMES = st.from_regex(r"CNI_[A-Z]{1,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(NAMES, VALUES, max_size=8), st.binary(max_size=64))
def test_a_request_survives_the_way(environment: dict[str, str], stdin: bytes) -> None:
    request = Request(environment, stdin)
    assert decode_request(encode_request(request)) == request


@pytest.mark.parametrize("octets", [
    b"", b"CNI_COMMAND=ADD", b"CNI_COMMAND=ADD\0", b"PATH=/bin\0\0", b"CNI_COMMAND\0\0",
    b"CNI_COMMAND=ADD\0CNI_COMMAND=DEL\0\0", b"".join(b"CNI_%d=\0" % n for n in range(33)) + b"\0",
])
def test_what_is_no_request_is_refused(octets: bytes) -> None:
    with pytest.raises(LocalError):
        decode_request(octets)


@pytest.mark.parametrize(("changes", "code", "word"), [
    ({"CNI_COMMAND": None}, 4, "CNI_COMMAND"), ({"CNI_COMMAND": "FROB"}, 4, "FROB"),
    ({"CNI_CONTAINERID": None}, 4, "CNI_CONTAINERID"), ({"CNI_NETNS": ""}, 4, "CNI_NETNS"),
    ({"CNI_IFNAME": None}, 4, "CNI_IFNAME"), ({"CNI_PATH": None}, 4, "CNI_PATH"),
    ({"CNI_CONTAINERID": "a/b"}, 4, "a/b"), ({"CNI_CONTAINERID": "c" * 201}, 4, "200"),
    ({"CNI_IFNAME": ".."}, 4, "'..'"), ({"CNI_IFNAME": "a" * 16}, 4, "15"), ({"CNI_IFNAME": "a:b"}, 4, "a:b"),
])
def test_environment_that_will_not_do_is_code_4(changes: dict[str, str | None], code: int, word: str) -> None:
    error = refused(**changes)
    assert (error.code, word in str(error)) == (code, True)


def test_everything_that_is_missing_is_told_at_once() -> None:
    error = refused(CNI_CONTAINERID=None, CNI_NETNS=None, CNI_IFNAME=None, CNI_PATH=None)
    assert all(name in str(error) for name in ENVIRONMENT if name != "CNI_COMMAND")


@pytest.mark.parametrize(("conf", "verb", "code"), [
    (b"{", "ADD", 6), (b"[]", "ADD", 6), (b"\xff", "ADD", 6), (b"[" * 5000, "ADD", 6), (b'{"a": NaN}', "ADD", 6),
    ({"name": ""}, "ADD", 7), ({"name": "-a"}, "ADD", 7), ({"name": "a b"}, "ADD", 7), ({"name": 5}, "ADD", 7),
    ({"cniVersion": "9.9.9"}, "ADD", 1), ({"cniVersion": "0.3.1"}, "CHECK", 1), ({"cniVersion": "1.0.0"}, "GC", 1),
    ({"cniVersion": "1.0.0"}, "STATUS", 1), ({"mtu": "1400"}, "ADD", 7), ({"mtu": True}, "ADD", 7),
    ({"hairpinMode": 1}, "ADD", 7), ({"ipam": []}, "ADD", 7), ({"ipam": {"type": "a/b"}}, "ADD", 7),
    ({"ipam": {"subnet": "10.0.0.1/8"}}, "ADD", 7), ({"runtimeConfig": {"ips": ["x"]}}, "ADD", 7),
    ({"runtimeConfig": {"bandwidth": {"egressRate": 5}}}, "ADD", 7), ({"runtimeConfig": {"aliases": [1]}}, "ADD", 7),
    ({"prevResult": {"ips": [{}]}}, "ADD", 7), ({"args": {"cni": {"labels": ["x"]}}}, "ADD", 7),
    ({"cni.dev/valid-attachments": {}}, "GC", 7),
])
def test_configuration_that_will_not_do_has_its_code(conf: Any, verb: str, code: int) -> None:
    assert refused(conf, CNI_COMMAND=verb).code == code


@pytest.mark.parametrize("conf", [b"", b"{", b"[]", {"name": ""}, {"cniVersion": "9.9.9"}, {"mtu": "x"},
                                  {"prevResult": 5}])
def test_a_deletion_needs_no_sound_configuration(conf: Any) -> None:
    assert call(conf, CNI_COMMAND="DEL", CNI_NETNS=None).container == "c0ffee"


def test_the_keys_of_another_ipam_plugin_are_not_ours_to_judge() -> None:
    assert call({"ipam": {"type": "dhcp", "subnet": 5, "routes": "none"}}).conf.ipam.type == "dhcp"


@pytest.mark.parametrize("aliases", [["web"], {"pods": ["web"], "other": ["not this"]}])
def test_aliases_come_as_a_list_or_as_podman_has_them(aliases: Any) -> None:
    assert call({"runtimeConfig": {"aliases": aliases}}).conf.aliases == ("web",)


def test_null_is_absent() -> None:
    assert call({"mtu": None, "ipam": None, "prevResult": None, "runtimeConfig": None}).conf.mtu is None


@given(st.binary(max_size=80), st.sampled_from(list(Verb)))
def test_a_reader_raises_one_type(stdin: bytes, verb: Verb) -> None:
    try:
        read_call(Request({**ENVIRONMENT, "CNI_COMMAND": verb.value}, stdin))
    except CniError:
        return
