"""A peer that resets a connection the moment it is made costs that connection, not the router."""

import pytest
import trio

from weave.mesh.link import LinkClosed
from weave.mesh.service import _host_of


async def _look() -> None:
    with trio.socket.socket() as sock:
        await trio.lowlevel.checkpoint()
        _host_of(trio.SocketStream(sock))


def test_a_connection_that_was_reset_is_closed() -> None:
    with pytest.raises(LinkClosed, match="not connected"):
        trio.run(_look)
