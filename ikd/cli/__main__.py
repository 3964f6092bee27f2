"""`python -m ikd.cli`."""

from ikd.cli.app import main

if __name__ == "__main__":
    main()
