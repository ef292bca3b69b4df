"""The end of the machine: its pods come to theirs first."""
