"""llmctl: the whole life of a language model from the command line."""

__version__ = "0.1.0"
