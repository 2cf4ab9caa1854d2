"""`python -m streams.cli` is the command line."""

from streams.cli.main import main

main()
