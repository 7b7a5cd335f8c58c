"""`python -m weave` is the `weave` command."""

from weave.cli import main

if __name__ == "__main__":
    main()
