"""A container's end of the probes: answers on its ports, and tries others' as told. Standard library alone.

    stdin   {"serve": [["TCP", 80], ...]}                            once
            {"probe": [["10.32.0.1", "TCP", 80], ...], "wait": 0.3}   again and again
    stdout  a list of true and false for each

SCTP is spoken by hand, INIT and INIT-ACK, because not every kernel has SCTP sockets.
"""

import json
import os
import select
import socket
import struct
import sys
import threading
import time

SCTP = 132
INIT, INIT_ACK = 1, 2
TABLE = []
for _byte in range(256):
    _value = _byte
    for _ in range(8):
        _value = _value >> 1 ^ (0x82F63B78 if _value & 1 else 0)
    TABLE.append(_value)


def checksum(data):
    """CRC32c (RFC 9260, appendix A)."""
    value = 0xFFFFFFFF
    for octet in data:
        value = value >> 8 ^ TABLE[(value ^ octet) & 255]
    return struct.pack("<I", value ^ 0xFFFFFFFF)


def packet(source, destination, tag, chunk, own_tag):
    body = struct.pack(">HHI4x", source, destination, tag) + struct.pack(
        ">BBHIIHHI", chunk, 0, 20, own_tag, 65535, 1, 1, own_tag)
    return body[:8] + checksum(body) + body[12:]


def serve(ports):
    for protocol, port in ports:
        if protocol == "TCP":
            threading.Thread(target=serve_tcp, args=(port,), daemon=True).start()
        elif protocol == "UDP":
            threading.Thread(target=serve_udp, args=(port,), daemon=True).start()
    threading.Thread(target=serve_sctp, args=({port for kind, port in ports if kind == "SCTP"},), daemon=True).start()


def serve_tcp(port):
    listener = socket.create_server(("0.0.0.0", port), backlog=256)
    while True:
        listener.accept()[0].close()


def serve_udp(port):
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("0.0.0.0", port))
    while True:
        data, peer = opened.recvfrom(2048)
        try:
            opened.sendto(data, peer)
        except OSError:
            continue


def serve_sctp(ports):
    opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
    while True:
        data, (peer, _) = opened.recvfrom(2048)
        data = data[(data[0] & 15) * 4:]
        if len(data) < 32 or data[12] != INIT:
            continue
        source, destination = struct.unpack_from(">HH", data)
        (tag,) = struct.unpack_from(">I", data, 16)
        if destination in ports:
            try:
                opened.sendto(packet(destination, source, tag, INIT_ACK, 7), (peer, 0))
            except OSError:
                continue


def probe(targets, wait):
    """Try everything at once; who has not answered when the time is over is taken for closed."""
    found = [False] * len(targets)
    poller, waiting, again = select.epoll(), {}, []
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
    raw.setblocking(False)
    poller.register(raw, select.EPOLLIN)
    base = 20000 + int.from_bytes(os.urandom(2), "big") % 30000
    associations = {}
    for index, (address, protocol, port) in enumerate(targets):
        if protocol == "SCTP":
            associations[address, port, base + index] = index
            again.append(lambda address=address, port=port, index=index: raw.sendto(
                packet(base + index, port, 0, INIT, 1 + index), (address, 0)))
            continue
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.connect_ex((address, port))
        if protocol == "TCP":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            again.append(lambda opened=opened: opened.send(b"?"))
        poller.register(opened, select.EPOLLOUT if protocol == "TCP" else select.EPOLLIN)
        waiting[opened.fileno()] = (opened, index, protocol)
    missing = len(targets)
    started = time.monotonic()
    for attempt in (0.0, wait / 3, wait / 3 * 2, wait):
        while missing:
            left = started + attempt - time.monotonic()
            events = poller.poll(max(left, 0))  # also when the time is over: a busy machine may have kept us away
            for descriptor, _ in events:
                if descriptor == raw.fileno():
                    missing -= take_sctp(raw, associations, found)
                    continue
                opened, index, protocol = waiting.pop(descriptor)
                poller.unregister(descriptor)
                found[index] = answered(opened, protocol)
                missing -= 1
            if left <= 0 and not events:
                break
        if attempt < wait and missing:
            for send in again:
                try:
                    send()
                except OSError:
                    continue
    for opened, _, _ in waiting.values():
        opened.close()
    raw.close()
    poller.close()
    return found


def answered(opened, protocol):
    with opened:
        if protocol == "TCP":
            return opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        try:
            return bool(opened.recv(16))
        except OSError:
            return False


def take_sctp(raw, associations, found):
    taken = 0
    while True:
        try:
            data, (peer, _) = raw.recvfrom(2048)
        except BlockingIOError:
            return taken
        data = data[(data[0] & 15) * 4:]
        if len(data) < 32 or data[12] != INIT_ACK:
            continue
        source, destination = struct.unpack_from(">HH", data)
        index = associations.get((peer, source, destination))
        if index is not None and not found[index]:
            found[index] = True
            taken += 1


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        if "serve" in asked:
            serve(asked["serve"])
            answer = []
        else:
            answer = probe(asked["probe"], asked["wait"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
