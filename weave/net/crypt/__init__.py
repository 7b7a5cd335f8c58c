"""Encrypted links by the kernel's means: who can what, what both agree on, what is proven, and what then is used.

    pact        two hosts agree on fresh keys, over the mesh, and again before they wear out
    probing     packets through a tunnel prove that it carries, and notice when it stops to
    candidates  what both ends can, best first
    core        all of it for all peers: events in, effects out
    gate        nftables rules by which VXLAN never leaves, or enters, outside its tunnel
    service     the shell around the core

`weave.net.wireguard` and `weave.net.ipsec` put into the kernel what is decided here.
"""
