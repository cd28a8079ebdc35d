"""Make the banks of a data set: `python scripts/prepare_data.py NAME [key=value ...]`, as `fewshot-data prepare`."""

import sys

from fewshot.cli.data import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
