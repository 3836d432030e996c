"""The full program: one file a command, no logic; each takes a room and prints what it says."""
