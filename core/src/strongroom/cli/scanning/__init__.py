"""The files that `scan` searches, and how it finds stored values in them."""
