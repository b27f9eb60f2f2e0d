"""One file a command: flags → one call into core → the result on stdout."""
