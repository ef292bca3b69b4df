"""Tests of edgekube.api.selectors."""
