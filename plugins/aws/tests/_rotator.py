"""Rotates in an account at moto's address, in processes that die or meet."""

import functools
import sys
from pathlib import Path

import botocore.session
from strongroom.testing.rotation import begin_at_once, kill_at_every_step
from strongroom_aws import AWSSecretProvider

# Each process makes clients of its own; what boto3 reads for them from files does not change.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
work, folder, times, address = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


def make():
    return AWSSecretProvider(
        "us-east-1", endpoint_url=address, access_key_id="testing", secret_access_key="testing"
    )


if work == "die":
    sys.stdout.write(str(kill_at_every_step(make, folder, times=times, every=5 if times == 1 else 1)))
else:
    sys.stdout.write(" ".join(begin_at_once(make, folder, processes=times)))
