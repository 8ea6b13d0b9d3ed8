"""The fuzzer as a command, from a checkout: `python -m tests.fuzz --inputs 10000`; a single input with `--only`."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "helpers")]

from fuzz.cli import main  # noqa: E402 the folders of the tests have to be on the path first

if __name__ == "__main__":
    sys.exit(main())
