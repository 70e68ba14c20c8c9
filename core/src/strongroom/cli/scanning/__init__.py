"""What `scan` looks through, and how it finds stored values."""
