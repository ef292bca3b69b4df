"""Tests of edgekube.api.custom."""
