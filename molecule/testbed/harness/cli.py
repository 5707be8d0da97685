# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the test bed. Tests run it by the hundred, so a command loads what it needs and no more."""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import faults, guard, ssh
from .bed import ENGINE_IMAGES, Bed, beds, release_machine
from .machine import BedError, allow_services, check, install_packages, lock


def main(argv: list[str]) -> None:
    """Run one command; a failure is one sentence on stderr and exit code 1."""
    arguments = parser().parse_args(argv)
    try:
        check()
        enter_machine_network()
        arguments.command(arguments)
    except BedError as error:
        sys.exit(f"bed: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def enter_machine_network() -> None:
    """Work from the machine's own network also when called inside a bed: the guard lives there."""
    for bed in beds():
        if bed.world.holds(os.getpid()):
            network = f"--net=/proc/{bed.world.keeper.pid}/ns/net"
            os.execv("/usr/bin/nsenter", ["nsenter", network, "--", sys.executable, *sys.argv])


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(prog="bed", description="Clusters of simulated NPU nodes on one Debian machine.")
    default = os.environ.get("ASCEND_TESTBED", "default")
    top.add_argument("-n", "--name", default=default, help=f"which bed (default: {default})")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function, help_text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text, description=help_text)
        added.set_defaults(command=function)
        return added

    command("check", lambda _: None, "say whether this machine can carry a bed; changes nothing")

    prepare = command("prepare", make_ready, "install packages and build what beds start from (once)")
    prepare.add_argument("--packages-only", action="store_true", help="the Debian packages only")

    up = command("up", bring_up, "start the bed, or what is missing of it; returns when every node answers")
    up.add_argument("--nodes", type=int, help="how many nodes (default: 2; 0: the network only)")
    up.add_argument("--npus", type=int, help="NPUs a node (default: 8)")
    up.add_argument("--image", choices=ENGINE_IMAGES, help="engine image that nodes hold (default: light)")
    up.add_argument("--hub", action="store_true", help="serve the tiny models on http://10.77.0.1:8090 as a model hub")
    up.add_argument("--generation", metavar="VERSION", help="driver version of the nodes (default: 25.3.rc1)")

    down = command("down", lambda a: Bed(a.name).down(a.nodes), "end the bed and remove all it left in the machine")
    down.add_argument("--nodes", action="store_true", help="the nodes only; the network and what runs in it stay")

    run = command("run", run_inside, "run a command in the bed's network: bed run -- COMMAND …")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    for name, function, text in (
        ("ssh", log_in, "log in to a node over SSH, or run a command there"),
        ("exec", execute, "run a command on a node without SSH, as from its console"),
    ):
        added = command(name, function, text)
        added.add_argument("node")
        added.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")

    kinds = "\n".join(f"  {f'{kind} NODE {fault.usage}':<48}{fault.effect}" for kind, fault in faults.FAULTS.items())
    fault = command("fault", inject, "break a node")
    fault.formatter_class, fault.epilog = argparse.RawDescriptionHelpFormatter, f"kinds:\n{kinds}"
    fault.add_argument("kind")
    fault.add_argument("node")
    fault.add_argument("arguments", nargs="*")

    heal = command("heal", lambda a: faults.heal(Bed(a.name), a.node), "undo every fault of a node")
    heal.add_argument("node")

    service = command("service", serve, "start or stop a helper in the bed's network: service start NAME -- COMMAND …")
    service.add_argument("action", choices=("start", "stop"))
    service.add_argument("service")
    service.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    status = command("status", show_status, "every bed and its nodes")
    status.add_argument("--json", action="store_true", help="as JSON")

    clean = command("clean", clean_all, "end every bed and leave nothing in the machine but the cache")
    clean.add_argument("--cache", action="store_true", help="delete the cache too")
    return top


def make_ready(arguments: argparse.Namespace) -> None:
    from . import images

    if arguments.packages_only:
        with lock("prepare"):
            install_packages()
    else:
        images.prepare()


def bring_up(arguments: argparse.Namespace) -> None:
    from . import up

    bed = Bed(arguments.name)
    options = ("nodes", "npus", "image", "generation")
    up.bring_up(bed, **{option: getattr(arguments, option) for option in options})
    if arguments.hub:
        up.start_hub(bed)
    print(f"bed: {bed.name} is up: {', '.join(bed.nodes()) or 'the network, without nodes'}")


def words(argv: list[str]) -> list[str]:
    """A command as given after an optional ``--``."""
    return argv[1:] if argv[:1] == ["--"] else argv


def run_inside(arguments: argparse.Namespace) -> None:
    argv = words(arguments.argv)
    if not argv:
        raise BedError("run needs a command: bed run -- COMMAND …")
    Bed(arguments.name).become(argv)


def log_in(arguments: argparse.Namespace) -> None:
    Bed(arguments.name).become([*ssh.command(arguments.node), *words(arguments.argv)])


def execute(arguments: argparse.Namespace) -> None:
    bed, argv = Bed(arguments.name), words(arguments.argv) or ["bash", "-l"]
    bed.require()
    terminal = ["--interactive", "--tty"] if sys.stdin.isatty() else ["--interactive"]
    command = bed.world.client("exec", *terminal, faults.Node(bed, arguments.node).name, *argv)
    os.execv(command[0], command)


def inject(arguments: argparse.Namespace) -> None:
    faults.inject(Bed(arguments.name), arguments.kind, arguments.node, *arguments.arguments)


def serve(arguments: argparse.Namespace) -> None:
    bed = Bed(arguments.name)
    if arguments.action == "stop":
        bed.stop_service(arguments.service)
    else:
        bed.start_service(arguments.service, words(arguments.argv))


def show_status(arguments: argparse.Namespace) -> None:
    found = {bed.name: bed.status() for bed in beds() if bed.settings}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, status in found.items():
        nodes = ", ".join(f"{node} {state}" for node, state in status["nodes"].items()) or "no nodes"
        services = "".join(f"; service {service} {state}" for service, state in status["services"].items())
        print(f"{name}: {nodes}{services}" if status["up"] else f"{name}: starts, or broke: see `bed -n {name} up`")
    if found and (unguarded := guard.missing()):
        print(f"no unreachable route for {', '.join(unguarded)}; `bed up` puts it back")


def clean_all(arguments: argparse.Namespace) -> None:
    from . import images

    for bed in beds():
        bed.down()
    images.discard_builds()
    release_machine()
    allow_services()
    if arguments.cache:
        images.delete_cache()
