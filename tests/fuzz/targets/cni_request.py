"""A CNI request as the executables send it: variables, configuration, and an earlier result inside.

Allowed: a call whose parts keep their bounds, or `CniError`; `LocalError` where the octets are no request at all. What
a result says is written and read again in the newest version without loss.
"""

import json

from weave.cni.errors import CniError
from weave.cni.plan import Host, aliases_of, labels_of, pod_name_of, routes_of, wishes_of
from weave.cni.reading import Fields
from weave.cni.request import MAX_VARIABLES, decode_request, encode_request, is_interface_name, read_call
from weave.cni.result import read_result, result_value
from weave.errors import LocalError

HOST = Host("weave", (), (), "weave.local.")


def target(data: bytes) -> None:
    try:
        request = decode_request(data)
    except LocalError:
        return
    assert len(request.environment) <= MAX_VARIABLES
    assert decode_request(encode_request(request)) == request
    try:
        call = read_call(request)
        if call.interface and call.verb.value in ("ADD", "DEL", "CHECK"):
            assert is_interface_name(call.interface)
        if call.conf.previous is not None:
            written = json.loads(json.dumps(result_value(call.conf.previous, "1.1.0")))
            assert read_result(Fields(written)) == call.conf.previous
        labels_of(call)
        aliases_of(call, HOST)
        pod_name_of(call, HOST)
        routes_of(call.conf, {}, call.conf.previous)
        wishes_of(call, HOST)
    except CniError:
        return


_ENVIRONMENT = (b"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=a;K8S_POD_NAMESPACE=b;IP=10.32.0.5\0CNI_COMMAND=ADD\0"
                b"CNI_CONTAINERID=c0ffee\0CNI_IFNAME=eth0\0CNI_NETNS=/run/netns/a\0CNI_PATH=/opt/cni/bin\0\0")
SEEDS: list[bytes] = [
    _ENVIRONMENT + b'{"cniVersion": "1.1.0", "name": "weave", "type": "weave-net"}',
    _ENVIRONMENT + b'{"cniVersion": "0.4.0", "name": "n", "ipam": {"subnet": "10.33.0.0/16", "gateway": "10.33.0.1", '
    b'"routes": [{"dst": "0.0.0.0/0"}]}, "runtimeConfig": {"ips": ["10.33.0.5/16"], "mac": "02:00:00:00:00:01", '
    b'"aliases": ["a"], "bandwidth": {"ingressRate": 1, "ingressBurst": 1}}, "args": {"cni": {"labels": '
    b'[{"key": "a", "value": "b"}]}}}',
    _ENVIRONMENT.replace(b"ADD", b"CHECK") + b'{"cniVersion": "1.1.0", "name": "n", "prevResult": {"interfaces": '
    b'[{"name": "eth0", "sandbox": "/x", "mtu": 1}], "ips": [{"address": "fd00::1/64", "interface": 0}], "routes": '
    b'[{"dst": "::/0", "gw": "fd00::2", "priority": 5}], "dns": {"nameservers": ["10.0.0.1"]}}}',
    _ENVIRONMENT.replace(b"ADD", b"DEL") + b'{"prevResult": {"ip4": {"ip": "10.0.0.1/8", "routes": []}}}',
    b'CNI_COMMAND=GC\0CNI_PATH=/x\0\0{"cniVersion": "1.1.0", "name": "n", "cni.dev/valid-attachments": '
    b'[{"containerID": "a", "ifname": "eth0"}]}',
    b"CNI_COMMAND=VERSION\0\0",
]
