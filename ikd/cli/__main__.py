"""`python -m ikd.cli`."""

from ikd.cli.commands import main

if __name__ == "__main__":
    main()
