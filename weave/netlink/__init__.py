"""Speak rtnetlink: the only code that knows how the kernel's messages are laid out.

`constants` names the numbers, `codec` packs and splits attributes, `messages` builds requests, `readings` reads
answers, `connection` sends and waits. Everything but `connection` is pure.
"""
