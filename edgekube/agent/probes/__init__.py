"""Probes: is a container alive, started, ready?"""
