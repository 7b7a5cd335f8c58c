"""The `weave` command: parses words, calls the control API, prints.

Holds no logic of its own, and imports what a command needs only when that command runs: `weave status` must feel
instant.
"""


def main() -> None:
    """Run the `weave` command; never returns."""
    from weave.cli.app import weave
    from weave.output import printing

    with printing("weave"):
        weave()
