"""`python -m weave.router`: what `weave router` and `weave launch` run."""

from weave.router.main import main

if __name__ == "__main__":
    main()
