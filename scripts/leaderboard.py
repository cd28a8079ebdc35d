"""Look at the leaderboard: the command `fewshot-leaderboard`, from a checkout."""

import sys

from fewshot.cli.leaderboard import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["show"]))
