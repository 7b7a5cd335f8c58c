"""`weave demo`: tell the story of `weave.lab.demo` on a terminal, or as data."""

import json
import sys
import time
from dataclasses import asdict

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON when the story is over.")
def demo(as_json: bool) -> None:
    """Show what weave does: three hosts on this machine, one story, everything removed at the end.

    Needs root, changes nothing outside network namespaces of its own, and exits with 0 only if every step held.

    \b
    Example: sudo weave demo
    """
    from weave.lab.demo import HOSTS, PASSWORD, Step, tell

    began = time.monotonic()
    live = sys.stdout.isatty() and not as_json
    rewind = "\r" if live else ""

    def report(step: Step, done: bool) -> None:
        if as_json:
            return
        if not done:
            if live:
                click.echo(f"  … {step.title}", nl=False)
            return
        mark = click.style("✓", fg="green") if step.ok else click.style("✗", fg="red")
        click.echo(f"{rewind}  {mark} {click.style(step.title, bold=True)}  {step.seconds:.1f} s")
        for line in step.found:
            click.echo(f"      {line}")

    if not as_json:
        click.echo(f"weave demo: {len(HOSTS)} hosts in network namespaces, password {PASSWORD!r}")
    steps = tell(report)
    held = all(step.ok for step in steps)
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        click.echo(json.dumps({"ok": held, "seconds": seconds, "steps": [asdict(step) for step in steps]}, indent=2))
    elif held:
        click.echo(f"Every step held, in {seconds} s. Make a lab of your own with: weave lab up 3")
    else:
        click.echo(f"This did not hold: {steps[-1].title}", err=True)
    sys.exit(0 if held else 1)
