# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the test bed. Tests run it hundreds of times, so each command imports only what it needs."""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import faults, guard, ssh
from .bed import ENGINE_IMAGES, Bed, beds, release_machine
from .machine import BedError, allow_services, check, install_packages, lock


def main(argv: list[str]) -> None:
    """Run one command; if it fails, print one sentence to stderr and exit with 1."""
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
    """If called inside a bed, switch to the machine's own network, which has the guard's routes."""
    for bed in beds():
        if bed.world.contains(os.getpid()):
            network = f"--net=/proc/{bed.world.keeper.pid}/ns/net"
            os.execv("/usr/bin/nsenter", ["nsenter", network, "--", sys.executable, *sys.argv])


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands and their options."""
    top = argparse.ArgumentParser(prog="bed", description="Clusters of simulated NPU nodes on one Debian machine.")
    default = os.environ.get("ASCEND_TESTBED", "default")
    top.add_argument("-n", "--name", default=default, help=f"name of the bed (default: {default})")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function, help_text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text, description=help_text)
        added.set_defaults(command=function)
        return added

    command("check", lambda _: None, "check whether this machine can run a bed; changes nothing")

    prepare = command("prepare", prepare_machine, "install packages and build the node image (needed only once)")
    prepare.add_argument("--packages-only", action="store_true", help="only install the Debian packages")

    up = command("up", bring_up, "start the bed, or its missing parts; return when every node responds")
    up.add_argument("--nodes", type=int, help="number of nodes (default: 2; 0: only the network)")
    up.add_argument("--npus", type=int, help="NPUs per node (default: 8)")
    up.add_argument("--image", choices=ENGINE_IMAGES, help="engine image on the nodes (default: light)")
    up.add_argument("--hub", action="store_true", help="serve the tiny models on http://10.77.0.1:8090 as a model hub")
    up.add_argument("--generation", metavar="VERSION", help="driver version of the nodes (default: 25.3.rc1)")
    up.add_argument("--replay", metavar="BUNDLE",
                    help="a diagnostics archive with recordings of real nodes, or one recording; the tools of node1 "
                         "print what those of the first recorded node printed, and so on (--nodes defaults to the "
                         "number of recordings)")

    down = command("down", lambda a: Bed(a.name).down(a.nodes), "stop the bed and remove all its traces")
    down.add_argument("--nodes", action="store_true", help="only remove the nodes; keep the network and its processes")

    run = command("run", run_inside, "run a command in the bed's network: bed run -- COMMAND …")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    for name, function, text in (
        ("ssh", log_in, "log in to a node over SSH, or run a command there"),
        ("exec", execute, "run a command on a node without SSH, as if at its console"),
    ):
        added = command(name, function, text)
        added.add_argument("node")
        added.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")

    kinds = "\n".join(f"  {f'{kind} NODE {fault.usage}':<48}{fault.effect}" for kind, fault in faults.FAULTS.items())
    fault = command("fault", inject, "inject a fault into a node")
    fault.formatter_class, fault.epilog = argparse.RawDescriptionHelpFormatter, f"kinds:\n{kinds}"
    fault.add_argument("kind")
    fault.add_argument("node")
    fault.add_argument("arguments", nargs="*")

    heal = command("heal", lambda a: faults.heal(Bed(a.name), a.node), "undo all faults of a node")
    heal.add_argument("node")

    help_text = "start or stop a helper in the bed's network: service start NAME -- COMMAND …"
    service = command("service", manage_service, help_text)
    service.add_argument("action", choices=("start", "stop"))
    service.add_argument("service")
    service.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    status = command("status", show_status, "show all beds and their nodes")
    status.add_argument("--json", action="store_true", help="print JSON")

    help_text = "stop all beds and remove everything that the test bed created on this machine, except the cache"
    clean = command("clean", clean_all, help_text)
    clean.add_argument("--cache", action="store_true", help="delete the cache too")
    return top


def prepare_machine(arguments: argparse.Namespace) -> None:
    from . import images

    if arguments.packages_only:
        with lock("prepare"):
            install_packages()
    else:
        images.prepare()


def bring_up(arguments: argparse.Namespace) -> None:
    from . import up

    bed = Bed(arguments.name)
    options = ("nodes", "npus", "image", "generation", "replay")
    up.bring_up(bed, **{option: getattr(arguments, option) for option in options})
    if arguments.hub:
        up.start_hub(bed)
    print(f"bed: {bed.name} is up: {', '.join(bed.nodes()) or 'the network, without nodes'}")


def without_separator(argv: list[str]) -> list[str]:
    """Return a command without the optional ``--`` before it."""
    return argv[1:] if argv[:1] == ["--"] else argv


def run_inside(arguments: argparse.Namespace) -> None:
    argv = without_separator(arguments.argv)
    if not argv:
        raise BedError("run needs a command: bed run -- COMMAND …")
    Bed(arguments.name).become(argv)


def log_in(arguments: argparse.Namespace) -> None:
    Bed(arguments.name).become([*ssh.command(arguments.node), *without_separator(arguments.argv)])


def execute(arguments: argparse.Namespace) -> None:
    bed, argv = Bed(arguments.name), without_separator(arguments.argv) or ["bash", "-l"]
    bed.require()
    terminal = ["--interactive", "--tty"] if sys.stdin.isatty() else ["--interactive"]
    command = bed.world.client("exec", *terminal, faults.Node(bed, arguments.node).name, *argv)
    os.execv(command[0], command)


def inject(arguments: argparse.Namespace) -> None:
    faults.inject(Bed(arguments.name), arguments.kind, arguments.node, *arguments.arguments)


def manage_service(arguments: argparse.Namespace) -> None:
    bed = Bed(arguments.name)
    if arguments.action == "stop":
        bed.stop_service(arguments.service)
    else:
        bed.start_service(arguments.service, without_separator(arguments.argv))


def show_status(arguments: argparse.Namespace) -> None:
    found = {bed.name: bed.status() for bed in beds() if bed.settings}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, status in found.items():
        nodes = ", ".join(f"{node} {state}" for node, state in status["nodes"].items()) or "no nodes"
        services = "".join(f"; service {service} {state}" for service, state in status["services"].items())
        print(f"{name}: {nodes}{services}" if status["up"] else f"{name}: starting or broken; run `bed -n {name} up`")
    if found and (unguarded := guard.missing()):
        print(f"the guard's `unreachable` route is missing for {', '.join(unguarded)}; run `bed up` to restore it")


def clean_all(arguments: argparse.Namespace) -> None:
    from . import images

    for bed in beds():
        bed.down()
    images.discard_builds()
    release_machine()
    allow_services()
    if arguments.cache:
        images.delete_cache()
