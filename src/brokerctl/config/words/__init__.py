"""The words of single vendors in a profile, one file each."""
