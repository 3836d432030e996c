"""The words of single vendors in a profile, and those of exchanges, one file each."""
