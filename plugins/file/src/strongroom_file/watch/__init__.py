"""Watches a store: waits until its files are written, and says which secrets changed."""
