"""A process that writes until it is killed, or its share, and says on stdout what was acknowledged."""

from __future__ import annotations

import sys

from strongroom_file import FileSecretProvider


def main(store: str, key: str, name: str, count: str, start: str) -> None:
    """Write versions of a key of its own and of one shared with others, a number each."""
    with FileSecretProvider(store, key, max_versions=5) as provider:
        for number in range(int(start), int(start) + int(count)):
            own = f"{name}/{number % 17}"
            provider.set_secrets({own: str(number), "shared": f"{name} {number}"})
            if number % 11 == 5:
                provider.delete_secret(own)
                own = f"-{own}"
            sys.stdout.write(f"{own} {number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
