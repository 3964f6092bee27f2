"""`python -m ikd` is the command `ikd`."""

from ikd.cli import main

if __name__ == "__main__":
    main()
