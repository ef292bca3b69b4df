"""Functions of expressions, a file per library: a table of declarations for the checker, functions for the values."""
