"""Changes to files of other tools that people write too: as text, all of them or none."""
