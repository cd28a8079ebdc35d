"""Meta-test saved weights: `python scripts/evaluate.py checkpoint=runs/NAME/best.safetensors [key=value ...]`."""

import sys

from fewshot.cli.main import main

if __name__ == "__main__":
    sys.argv.append("mode=test")
    main()
