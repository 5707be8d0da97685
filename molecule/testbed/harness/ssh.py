# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH keys of the controller and the nodes, known_hosts and the client's configuration."""

from __future__ import annotations

from pathlib import Path

from .guard import address
from .machine import cache, lock, replace_file, run


def folder() -> Path:
    return cache() / "ssh"


def command(node: str) -> list[str]:
    """Return the command line of a login to ``node``, to which a command can be added."""
    return ["ssh", "-F", str(folder() / "config"), node]


def make_key() -> None:
    """Create the key with which the controller logs in."""
    folder().mkdir(mode=0o700, exist_ok=True)
    keygen(folder() / "id_ed25519", "ascend-testbed")


def host_key(index: int) -> Path:
    """Return the host key of node ``index``: the same in every bed, so that it is known before the node exists."""
    path = folder() / f"host_node{index}"
    keygen(path, f"node{index}")
    return path


def keygen(path: Path, comment: str) -> None:
    """Create a key pair unless it exists. The private key is renamed last: if it exists, the pair is complete."""
    if not path.exists():
        draft = path.with_name(path.name + ".new")
        for stale in (draft, public(draft)):
            stale.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", draft)
        public(draft).rename(public(path))
        draft.rename(path)


def public(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def write_files(nodes: int) -> None:
    """Write known_hosts and the client's configuration for ``nodes`` nodes and for all nodes of other beds."""
    with lock("ssh"):
        for index in range(1, nodes + 1):
            host_key(index)
        indexes = sorted(int(path.stem.removeprefix("host_node")) for path in folder().glob("host_node*.pub"))
        known = "".join(known_host(index) for index in indexes)
        config = f"""Host node* 10.77.0.*
  User root
  IdentityFile {folder()}/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile {folder()}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 5
"""
        config += "".join(f"Host node{index}\n  HostName {address(index)}\n" for index in indexes)
        for name, text in (("known_hosts", known), ("config", config)):
            replace_file(folder() / name, text)


def known_host(index: int) -> str:
    kind, key, _comment = public(host_key(index)).read_text().split()
    return f"node{index},{address(index)} {kind} {key}\n"
