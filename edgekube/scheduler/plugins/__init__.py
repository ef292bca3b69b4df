"""The rules of the scheduler, one file a subject: pure functions that scheduler.profiles puts into a table."""
