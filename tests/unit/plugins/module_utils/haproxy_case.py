# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake HAProxy that responds to admin socket commands and stores the states of its servers."""

from __future__ import annotations

HEAD = "# pxname,svname,qcur,scur,status,check_status,check_code,agent_status,last_agt,\n"


class Balancer:
    """HAProxy with the servers ``node1_8888=[status, sessions]``. ``ask`` returns the response to a command."""

    def __init__(self, **servers):
        self.servers = {name.replace("_", ":"): state for name, state in servers.items()}
        self.disabled = {name for name, (status, _sessions) in self.servers.items() if status in ("DRAIN", "MAINT")}
        self.commands, self.agent = [], ("L7OK", "via agent : up")

    def ask(self, command):
        if command == "show stat":
            rows = ["vllm,%s,0,%d,%s,L7OK,200,%s,%s," % (name, sessions, status, *self.agent)
                    for name, (status, sessions) in self.servers.items()]
            return HEAD + "\n".join(["vllm,FRONTEND,,1,OPEN,,,,,", "other,node1:1,0,9,UP,L7OK,200,,,", *rows,
                                     "vllm,BACKEND,0,3,UP,,,,,"]) + "\n\n"
        if command == "show servers state vllm":
            return "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n" + "".join(
                "3 vllm 1 %s 10.0.0.1 2 %d 1\n" % (name, 8 * (name in self.disabled)) for name in self.servers)
        self.commands.append(command)
        _set, _server, target, _state, state = command.split(" ")
        name = target.partition("/")[2]
        if name not in self.servers:
            return "No such server.\n"
        (self.disabled.add if state == "drain" else self.disabled.discard)(name)
        if self.servers[name][0] != "DOWN":
            self.servers[name][0] = {"drain": "DRAIN", "ready": "UP"}[state]
        return "\n"
