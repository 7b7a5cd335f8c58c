"""Operations that put containers, and the host itself, on the network and take them off."""

import re
from collections.abc import Sequence
from pathlib import Path

import trio

from weave.api.arguments import Call
from weave.api.control import DEFAULT_INTERFACE, Attachment, AttachSpec, DetachSpec
from weave.api.errors import NotFound
from weave.api.operations import WAIT_DEADLINE_S, Field, Operation, Shape
from weave.api.replies import DONE, Reply
from weave.api.report import EndpointReport
from weave.api.wishes import DEFAULT_WISH, parse_wishes
from weave.errors import LocalError
from weave.labels import parse_labels

MIN_MTU = 576
MAX_MTU = 65535
MAX_PID = 1 << 22
WATCH_S = 25.0
"""How long a watcher of endpoints waits for a change before it is told what there is."""
MAX_GENERATION = (1 << 53) - 1
"""The largest whole number that every reader of JSON can hold."""
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
"""What the kernel takes for the name of an interface, less `.` and `..`."""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_WISHES = Field("addresses", Shape.TEXTS, "10.32.0.5/12 or ip:… for one address, net:10.32.2.0/24 for any of a "
                "subnet, net:default for any of the default subnet.", ("net:default",))
_ADDRESSES_ANSWER = "the addresses, as text without prefix lengths"


def _attachment_value(attachment: Attachment) -> dict[str, object]:
    return {
        "container": attachment.container,
        "interface": attachment.interface,
        "mac": attachment.mac,
        "mtu": attachment.mtu,
        "addresses": [str(address) for address in attachment.addresses],
        "netns": None if attachment.netns is None else str(attachment.netns),
        "gateway": None if attachment.gateway is None else str(attachment.gateway),
        "fqdns": list(attachment.fqdns),
        "labels": dict(attachment.labels),
    }


async def _attach(call: Call) -> Reply:
    done = await call.control.attach(AttachSpec(
        container=call.path["container"],
        netns=_netns(call.text("netns"), call.number("pid")),
        interface=_interface(call.text("interface")),
        wishes=parse_wishes(call.texts("addresses")) or (DEFAULT_WISH,),
        fqdns=call.texts("fqdns"),
        own_fqdn=call.text("own_fqdn"),
        mac=_mac(call.text("mac")),
        mtu=call.number("mtu"),
        default_route=call.flag("default_route"),
        multicast_route=call.flag("multicast_route", default=True),
        labels=parse_labels(call.texts("labels")),
    ))
    return Reply(value=_attachment_value(done))


def _netns(path: str | None, pid: int | None) -> Path:
    if (path is None) == (pid is None):
        raise LocalError("say where the container is by one of 'netns', the path of its network namespace, and 'pid'")
    if path is None:
        return Path(f"/proc/{pid}/ns/net")
    if not path.startswith("/"):
        raise LocalError(f"'netns' should be an absolute path, not {path!r}")
    return Path(path)


def _interface(name: str | None) -> str:
    if name is None:
        return DEFAULT_INTERFACE
    if not _INTERFACE.fullmatch(name) or not name.isascii() or name in (".", ".."):
        raise LocalError(f"{name!r} is no name for an interface: up to 15 characters without blank, '/' and ':'")
    return name


def _mac(text: str | None) -> str | None:
    if text is None:
        return None
    mac = text.lower()
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        raise LocalError(f"{text!r} is not a unicast MAC address; write it like 02:42:ac:11:00:02")
    return mac


async def _detach(call: Call) -> Reply:
    interface = call.text("interface")
    removed = await call.control.detach(DetachSpec(
        container=call.path["container"],
        interface=None if interface is None else _interface(interface),
        wishes=parse_wishes(call.texts("addresses")),
    ))
    return _addresses_reply(removed)


def _addresses_reply(addresses: object) -> Reply:
    assert isinstance(addresses, list | tuple)
    return Reply(" ".join(str(address.ip) for address in addresses), {"addresses": [str(a) for a in addresses]})


async def _attachments(call: Call) -> Reply:
    return Reply(value=[_attachment_value(attachment) for attachment in call.control.attachments()])


async def _attachments_of(call: Call) -> Reply:
    container = call.path["container"]
    found = [_attachment_value(item) for item in call.control.attachments() if item.container == container]
    if not found:
        raise NotFound(f"{container} is not attached on this host; `weave ps` lists what is")
    return Reply(value=found)


async def _endpoints(call: Call) -> Reply:
    after = call.number("after")
    found: tuple[int, Sequence[EndpointReport]] | None = None
    with trio.move_on_after(WATCH_S):
        found = await call.control.endpoints(after)
    generation, endpoints = found or await call.control.endpoints(None)
    return Reply(value={"generation": generation, "endpoints": [_endpoint_value(item) for item in endpoints]})


def _endpoint_value(endpoint: EndpointReport) -> dict[str, object]:
    return {
        "mac": endpoint["MAC"],
        "addresses": endpoint["Addresses"],
        "container": endpoint["ContainerID"],
        "interface": endpoint["Interface"],
        "peer": endpoint["Peer"],
        "nickname": endpoint["NickName"],
        "local": endpoint["Local"],
        "labels": endpoint["Labels"],
    }


async def _expose(call: Call) -> Reply:
    wishes = parse_wishes(call.texts("addresses")) or (DEFAULT_WISH,)
    masquerade = call.flag("masquerade", default=True)
    return _addresses_reply(await call.control.expose(wishes, fqdn=call.text("fqdn"), masquerade=masquerade))


async def _expose_one(call: Call) -> Reply:
    wishes = parse_wishes([str(call.path_interface())])
    await call.control.expose(wishes, fqdn=None, masquerade=not call.flag("skipNAT"))
    return DONE


async def _hide(call: Call) -> Reply:
    return _addresses_reply(await call.control.hide(parse_wishes(call.texts("addresses"))))


_ATTACH_FIELDS = (
    Field("netns", Shape.TEXT, "Path of the container's network namespace.", "/run/netns/blue"),
    Field("pid", Shape.NUMBER, "A process in that namespace, instead of its path.", 4711, minimum=1, maximum=MAX_PID),
    Field("interface", Shape.TEXT, f"Name inside the container; {DEFAULT_INTERFACE} by default.", "eth0"),
    _WISHES,
    Field("fqdns", Shape.TEXTS, "Names to register with its addresses.", ("c1.weave.local.",)),
    Field("own_fqdn", Shape.TEXT, "The name that it gets when it is new and `fqdns` is empty.", "c1.weave.local."),
    Field("mac", Shape.TEXT, "Its MAC address; derived by default.", "02:42:ac:11:00:02"),
    Field("mtu", Shape.NUMBER, "Its MTU; that of the bridge by default.", 1400, minimum=MIN_MTU, maximum=MAX_MTU),
    Field("default_route", Shape.FLAG, "Make the bridge its default gateway.", example=False),
    Field("multicast_route", Shape.FLAG, "Send its multicast over this network (default).", example=True),
    Field("labels", Shape.TEXTS, "What policy and people know it by, key=value each.", ("app=web",)),
)
OPERATIONS = (
    Operation("GET", "/attachments", "Containers on this host's bridge", _attachments, "a list of attachments",
              subject="containers"),
    Operation("GET", "/attachment/{container}", "The attachments of one container", _attachments_of,
              "a list of attachments", subject="containers"),
    Operation("PUT", "/attachment/{container}", "Put a container on the network", _attach,
              "the attachment, with the addresses that were asked for", fields=_ATTACH_FIELDS, subject="containers",
              deadline_s=WAIT_DEADLINE_S, waits=True),
    Operation("DELETE", "/attachment/{container}", "Take a container, or some of its addresses, off the network",
              _detach, _ADDRESSES_ANSWER, subject="containers", deadline_s=WAIT_DEADLINE_S, fields=(
                  Field("interface", Shape.TEXT, "One of its interfaces; all by default.", "eth0"), _WISHES)),
    Operation("GET", "/endpoints", "Every interface on the network; waits for a change", _endpoints,
              f"`generation` and `endpoints`; after {WATCH_S:g} s without a change what there is", subject="containers",
              deadline_s=WAIT_DEADLINE_S, waits=True, fields=(
                  Field("after", Shape.NUMBER, "Wait until the generation is not this one.", 1, maximum=MAX_GENERATION),
              )),
    Operation("POST", "/expose", "Give the host itself addresses on the network", _expose, _ADDRESSES_ANSWER,
              subject="containers", deadline_s=WAIT_DEADLINE_S, waits=True, fields=(
                  _WISHES,
                  Field("fqdn", Shape.TEXT, "Name to register with them.", "h1.weave.local."),
                  Field("masquerade", Shape.FLAG, "Let containers reach the world by the host's address (default).",
                        example=True))),
    Operation("POST", "/expose/{address}/{length}", "Give the host one address on the network", _expose_one,
              "nothing", subject="containers", deadline_s=WAIT_DEADLINE_S, waits=True,
              fields=(Field("skipNAT", Shape.FLAG, "Do not masquerade.", example=False),)),
    Operation("DELETE", "/expose", "Take the host's addresses off the network; all without `addresses`", _hide,
              _ADDRESSES_ANSWER, subject="containers", fields=(_WISHES,), deadline_s=WAIT_DEADLINE_S),
)
