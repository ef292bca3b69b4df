"""Tests of discovery: real multicast in namespaces of the test's own."""
