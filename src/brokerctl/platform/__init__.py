"""The machine: system calls, private files, processes, commands that end in time, our imports."""
