"""The one exception that every face shows as a single line with exit status 2."""


class InputError(Exception):
    """What is wrong, where, and how to mend it, in one line written for the user."""
