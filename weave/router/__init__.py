"""The composition root: builds every part of a router, opens one nursery, owns start, readiness and shutdown.

The parts do not know each other; what one of them reports reaches another only through the modules of this package,
one for each story: `attach` (a container joins), `underlay` (which peers get container traffic), `names`, `report`.
"""
