"""The one exception that a user is meant to read."""


class FewshotError(Exception):
    """Something given from outside (config, file, argument) cannot be used.

    The message is one line: what was given, what was expected, what to do. The command line
    prints it without a traceback and exits with a code that is not 0.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))
