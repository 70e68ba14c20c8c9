"""Strongroom inside other tools. Each module needs the tool's own library, and nothing else imports it."""
