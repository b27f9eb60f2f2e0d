"""`python -m llmctl`."""

from llmctl.cli import main

if __name__ == "__main__":
    main()
