"""What tests/core/test_child_process.py starts."""

import os
import sys
import textwrap

print(*sys.argv[1:])
print(os.environ.get("COLOUR"))
print(os.getpgrp())
print(textwrap.dedent("  sound"))
