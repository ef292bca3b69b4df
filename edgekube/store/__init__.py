"""Revisions of objects in SQLite: single writer, group commit, watch ring."""
