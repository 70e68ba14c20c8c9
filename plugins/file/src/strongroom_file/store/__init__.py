"""The encrypted store: a tree of sealed rows in one SQLite file."""
