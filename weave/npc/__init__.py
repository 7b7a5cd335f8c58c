"""The policy controller: who may talk to whom, decided here and enforced by the kernel.

A process of its own with a life of its own: when it dies, the rules stay. Nothing is imported here; `weave.npc.main`
is the program.
"""
