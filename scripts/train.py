"""Meta-train and meta-test: the command `fewshot`, from a checkout."""

from fewshot.cli.main import main

if __name__ == "__main__":
    main()
