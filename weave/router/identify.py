"""Print the name of the peer whose state file lies in a directory, making it where there is none.

What starts routers under Kubernetes must know the name before the router runs: by it the router is entered into the
record of the cluster. Refused while a router runs on the file.
"""

import sys
from pathlib import Path

import trio

from store import StoreError, open_store
from weave.errors import EnvironmentFailure, WeaveError
from weave.names import PeerName
from weave.router.state import load_self

DATABASE = "weave.db"


async def identify(state_dir: Path) -> PeerName:
    """Return the name, durably ours."""
    try:
        async with open_store(state_dir / DATABASE, contents="the identity of this peer") as store:
            return (await load_self(store)).identity.public.name
    except StoreError as exc:
        raise EnvironmentFailure(f"cannot read the state of the router in {state_dir}: {exc}") from exc


def main() -> None:
    """Print the name for the directory given as the only argument."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m weave.router.identify STATE_DIR")
    state_dir = Path(sys.argv[1])
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = trio.run(identify, state_dir)
    except OSError as exc:
        sys.exit(f"weave router: cannot make {state_dir}: {exc.strerror}")
    except WeaveError as exc:
        sys.exit(f"weave router: {exc}")
    sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
