"""Datagrams: drained in bursts from a plain socket, since a trio call for each would cost more than the answer.

The socket is bound to one address, so that a reply comes from the address that was asked.
"""

import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import trio

from weave.dns.limits import MAX_QUERY_BYTES, UDP_BURST
from weave.dns.responder import Forward, Responder

Source: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
SendReply: TypeAlias = Callable[[bytes], None]
OnForward: TypeAlias = Callable[[Forward, SendReply], None]
"""Takes a question for the upstream, and how to send its reply; returns at once."""


class UdpListener:
    """Answers the datagrams of one socket."""

    def __init__(self, sock: socket.socket, responder: Responder, on_forward: OnForward, drops: Counter[str]) -> None:
        self._sock = sock
        self._responder = responder
        self._on_forward = on_forward
        self._drops = drops

    async def run(self) -> None:
        """Answer until cancelled; raise `OSError` where the socket fails."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            self._drain()

    def _drain(self) -> None:
        """Answer what has arrived, up to a burst; a reply that cannot be sent at once is dropped and counted."""
        receive, respond = self._sock.recvfrom, self._responder.datagram
        for _ in range(UDP_BURST):
            try:
                data, source = receive(MAX_QUERY_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                return
            reply = respond(data, source[0])
            if isinstance(reply, bytes):
                self._send_to(source, reply)
            elif reply is not None:
                self._on_forward(reply, partial(self._send_to, source))

    def _send_to(self, source: Source, reply: bytes) -> None:
        try:
            self._sock.sendto(reply, source)
        except OSError:
            self._drops["udp_replies"] += 1
