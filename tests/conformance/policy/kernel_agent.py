"""A host's end: enforces the policies it is told on the kernel of its network namespace, and says when it is done.

It is the controller without its process: holdings, compiler, enforcer, and the same changes from step to step.
"""

import json
import sys
from ipaddress import ip_address

import trio

from weave.npc.compiler import Compiler, Local
from weave.npc.enforcer import Enforcer, Options, prepare_bridge
from weave.npc.kernel import Kernel
from weave.npc.model import Key
from weave.npc.source import Holdings, Remove, Upsert, identity_of


async def main() -> None:
    prepare_bridge()
    holdings, compiler = Holdings(), Compiler()
    with Kernel() as kernel:
        enforcer = Enforcer(Options(), kernel)
        async for line in trio.wrap_file(sys.stdin):
            asked = json.loads(line)
            told = {identity_of(manifest): manifest for manifest in asked["manifests"]}
            holdings.take([*(Upsert(identity, manifest) for identity, manifest in told.items() if identity),
                           *(Remove(identity) for identity in list(holdings.values) if identity not in told)])
            local = Local({Key(*key.split("/")): (ip_address(address),) for key, address in asked["pods"].items()},
                          frozenset(map(ip_address, asked["others"])))
            await enforcer.enforce(compiler.compile(holdings.cluster, local))
            print(json.dumps({"errors": enforcer.figures.errors, "full": enforcer.figures.full_loads}), flush=True)


if __name__ == "__main__":
    trio.run(main)
