"""The fuzzer as a command, from a checkout: `python -m tests.fuzz --inputs 10000`; a single input with `--only`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.cli import main

if __name__ == "__main__":
    sys.exit(main())
