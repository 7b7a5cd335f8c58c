"""What a router remembers of the hosts that a person named."""

import pytest
import trio

from store import MemoryStore
from weave.router.state import load_self, remember_targets

PORT = 6783


@pytest.mark.parametrize(("stored", "added", "dropped", "replace", "left"), [
    (["192.0.2.7:6783"], [], ["192.0.2.7"], False, []),
    (["192.0.2.7"], [], ["192.0.2.7:6783"], False, []),
    (["[2001:db8::7]:6783"], [], ["2001:db8:0::7"], False, []),
    (["H1 "], [], ["h1:6783"], False, []),
    (["192.0.2.7:6784"], [], ["192.0.2.7"], False, ["192.0.2.7:6784"]),
    (["192.0.2.7:6783", "h1"], ["192.0.2.7"], [], True, ["192.0.2.7"]),
    (["192.0.2.7:6783", "h1"], [], [], True, []),
    (["192.0.2.7"], ["[192.0.2.7]:6783", "h1"], [], False, ["[192.0.2.7]:6783", "h1"]),
])
def test_a_target_is_remembered_once_however_it_is_written(
    stored: list[str], added: list[str], dropped: list[str], replace: bool, left: list[str]
) -> None:
    async def story() -> tuple[str, ...]:
        store = MemoryStore()
        await remember_targets(store, stored, (), port=PORT)
        await remember_targets(store, added, dropped, port=PORT, replace=replace)
        return (await load_self(store)).targets

    assert list(trio.run(story)) == left
