# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a hub's client in the image's container: fetch.py CLIENT ARGUMENT …

It holds the model's lock, which the staging module takes too, so a folder is never published under the client's hands.
STAGING_LOCK and STAGING_CREDENTIALS name the lock and a file with the token, which neither argv nor the container's
configuration shows.
"""

import fcntl
import json
import os
import sys


def main():
    """Become the client."""
    lock = os.open(os.environ["STAGING_LOCK"], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run holds the lock of this model")
    # The client keeps the open file, and with it the lock, for as long as it lives.
    os.set_inheritable(lock, True)
    environment = dict(os.environ)
    credentials = os.environ["STAGING_CREDENTIALS"]
    if os.path.exists(credentials):
        with open(credentials, encoding="utf-8") as stream:
            environment.update(json.load(stream))
        os.unlink(credentials)
        if "MODELSCOPE_API_TOKEN" in environment:
            log_in(environment["MODELSCOPE_API_TOKEN"])
    os.execvpe(sys.argv[1], sys.argv[1:], environment)


def log_in(token):
    """Give the token to the modelscope package, whose clients before 1.33 take it from their own login only."""
    try:
        from modelscope.hub.api import HubApi
    except ImportError:  # modelscope-hub alone, which reads the environment
        return
    HubApi().login(token)


main()
