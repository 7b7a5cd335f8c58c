"""A handshake ends in time, whatever the other end does not do."""

from typing import cast

import pytest
import trio
import trio.testing

from tests.unit.mesh_crypto.pairs import ALICE, BOB, End
from weave.mesh.handshake import Handshake, HandshakeRefused
from weave.mesh.link import LinkClosed, shake_hands
from weave.mesh.reasons import Reason


class Slow(trio.abc.Stream):
    """The way to an initiator that takes a number of our messages and then nothing more."""

    def __init__(self, takes: int) -> None:
        self.initiator = End(ALICE).handshake(initiator=True)
        self._waiting = self.initiator.start()
        self._takes = takes

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if data and self._takes == 0:
            await trio.sleep_forever()
        if data:
            self._takes -= 1
            self._waiting += self.initiator.receive(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._waiting:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        taken, self._waiting = self._waiting, b""
        return taken

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def answer(stream: Slow, handshake: Handshake) -> None:
    async def scene() -> None:
        await shake_hands(cast(trio.SocketStream, stream), handshake)

    trio.run(scene, clock=trio.testing.MockClock(autojump_threshold=0))


def test_who_does_not_take_the_last_word_loses_the_connection() -> None:
    handshake = End(BOB).handshake(initiator=False)
    with pytest.raises(LinkClosed, match="not over within"):
        answer(Slow(takes=1), handshake)
    assert handshake.established is not None


def test_who_says_nothing_more_is_told_so() -> None:
    stream = Slow(takes=2)
    stream._waiting = stream._waiting[:-1]
    with pytest.raises(HandshakeRefused) as caught:
        answer(stream, End(BOB).handshake(initiator=False))
    assert caught.value.reason is Reason.TIMEOUT
