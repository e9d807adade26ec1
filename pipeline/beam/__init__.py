"""How Beam jobs run on this machine: processes, signals, errors, and progress."""
