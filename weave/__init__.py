"""A container network that needs nothing but the hosts it runs on."""

__version__ = "3.0.0.dev0"
