"""Volumes of pods: what each kind puts on disk, written so that a reader never sees a half."""
