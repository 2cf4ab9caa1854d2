"""The error that carries a sentence for whoever can mend its cause."""


class UserError(Exception):
    """Something that the user can mend: one sentence that says what is wrong, and one that says
    what to do. The command line prints it without a traceback; the gateway answers with it.
    """
