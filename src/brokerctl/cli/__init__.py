"""The full program: a file for each command, without logic, which prints what a room answers."""
