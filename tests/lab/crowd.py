"""A peer that is nothing but a crowd: `python -m tests.lab.crowd ADDRESS COUNT`.

It speaks the mesh like a router and has no containers at all. After each line that it reads it announces COUNT
interfaces, or withdraws them where they are announced, and says which. It ends with its input.
"""

import random
import secrets
import sys
from ipaddress import ip_address, ip_interface

import trio

from weave.mesh.core import MeshCore
from weave.mesh.identity import Identity
from weave.mesh.password import OPEN_PSK
from weave.mesh.peers import LocalPeer, MeshConfig
from weave.mesh.service import MeshService, ServiceConfig
from weave.mesh.verifier import KeyVerifier
from weave.net import Endpoint
from weave.router.endpoints import CHANNEL, encode_endpoint

PORT = 6783
FIRST = ip_address("10.46.0.1")
"""In the last blocks of the default range, which no host of a small lab comes to give out."""


def endpoints(count: int) -> list[Endpoint]:
    """Return interfaces with addresses in a row."""
    macs = (f"0a:00:00:00:{number >> 8:02x}:{number & 0xFF:02x}" for number in range(count))
    return [Endpoint(mac, (ip_interface(f"{FIRST + number}/12"),), f"crowd{number}", "ethwe", None)
            for number, mac in enumerate(macs)]


def service(own: str) -> MeshService:
    """Return a peer that reaches others by VXLAN, at least so it says."""
    identity, uid = Identity.from_seed(secrets.token_bytes(32)), secrets.randbits(63)
    me = LocalPeer(name=identity.public.name, identity=identity.public.encode(), nickname="crowd", uid=uid,
                   incarnation=1, control_port=PORT, addresses=(own,), features={"encrypted": False})
    core = MeshCore(me=me, signer=identity, verifier=KeyVerifier(), config=MeshConfig(), rng=random.SystemRandom(),
                    now=trio.current_time())
    return MeshService(identity, core, ServiceConfig(
        listen=ip_address("0.0.0.0"), port=PORT, psks=(OPEN_PSK,), nickname="crowd", uid=uid, trusted_subnets=()))


async def main() -> None:
    own, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    mesh = service(own)
    async with trio.open_nursery() as nursery:
        await nursery.start(mesh.run)
        mesh.connect([target])
        print("joined", flush=True)
        are_here = False
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            are_here = not are_here
            for endpoint in endpoints(count):
                key, value = encode_endpoint(endpoint)
                mesh.publish(CHANNEL, key, value if are_here else None)
            print("here" if are_here else "gone", flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
