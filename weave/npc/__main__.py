"""`python -m weave.npc`: the policy controller."""

from weave.npc.main import main

main()
