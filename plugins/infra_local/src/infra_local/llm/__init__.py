"""The provider ``offline``: rules and real algorithms instead of a language model, and never pretending to be one."""
