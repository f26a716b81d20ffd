"""`python -m snpimpute`: the command line, where the package's own scripts are not on the path."""

from snpimpute.cli import main

main()
