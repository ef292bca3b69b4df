"""The Job controller: run pods until enough of them have succeeded, and count each exactly once.

Next: controllers.job.controller.
"""
