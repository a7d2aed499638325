"""``python -m vmjitter``."""

from vmjitter.cli import main

main()
