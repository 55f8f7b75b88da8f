"""Measures sources, fusions and policies on data sets. Runs the same engine as the service, on a scratch corpus of its own."""
