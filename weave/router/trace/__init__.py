"""`weave trace`: what becomes of a packet between two interfaces of the network, told by the hosts at both ends."""
