# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page that needs no other file and no network.

Everything that comes from nodes, inventories and models is escaped, or travels as JSON that ``page.js`` shows as text.
The content security policy of the page allows only the embedded scripts and styles, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import ping_loss
from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, history, report, wording
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import json_data

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import StageResult

#: The files in ``roles/report/files`` that are embedded in the page.
ASSETS = ("page.html", "page.css", "page.js", "chartist.umd.js", "chartist.LICENSE-MIT")
# Values of style attributes that Chartist sets. The policy of the page allows no others.
CHART_STYLES = ("width: 100%; height: 15rem;", "width: 100%; height: 7rem;", "overflow: visible;")
# The number of hosts in the heat map, whose size is the square of the number of their NPUs, and of charts in a section.
HEAT_HOSTS, CHARTS = 8, 8
GIB = 2.0**30
# From the most to the least urgent.
_ORDER = (contract.FAILED, contract.STALE, contract.WARNED, contract.NOT_RUN, contract.UNSUPPORTED, contract.WAIVED,
          contract.PASSED)

# By whether a metric is worse than its limit; None if there is no limit.
_LIMITS: dict[Any, Any] = {True: ["beyond the limit", contract.FAILED], False: "within the limit", None: "inconclusive"}
# The exceptions that reading data with an unexpected format can raise.
_UNEXPECTED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)

# A cell of a table is text, a number, or ``[text, status]``, which is shown as text with a mark.
#: A part of a section: a table, a chart, a heat map or a paragraph; page.js lists the keys of each kind.
Block = dict[str, Any]


def page(summary: report.Report, results: report.Results, plans: Mapping[str, Plan],
         facts: Callable[[Any], Mapping[str, str]], runs: Sequence[history.Entry], assets: Mapping[str, str]) -> str:
    """Return the page.

    :param plans: the last plan of each host.
    :param facts: a function that returns ``{fact: value}`` of an observation of npu_driver, for the facts that should
        be the same on all hosts.
    :param runs: the runs in the history, the oldest first.
    :param assets: ``{name: content}`` of the files in ASSETS.
    """
    source = _Source(summary, results, plans, facts, runs)
    sections = []
    for name, title, blocks in _SECTIONS:
        try:
            found = list(blocks(source))
        except _UNEXPECTED:
            source.unreadable.add("the section %s" % title)
        else:
            sections += [{"id": name, "title": title, "blocks": found}] if found else []
    groups = _findings(summary)
    data = {
        "stages": contract.STAGES, "findings": groups, "sections": sections, "unreadable": sorted(source.unreadable),
        "hosts": [[host, [[cell["status"], cell["finished_at"], cell["checks"], cell["error"] or cell["stale"],
                           cell["old"]] for cell in cells.values()], summary["nodes"].get(host)]
                  for host, cells in summary["hosts"].items()],
    }
    slots = {
        **assets, "headline": html.escape(wording.headline(summary)), "status": html.escape(summary["status"]),
        "facts": _items(_about(summary)), "failures": _items(
            contract.sentence(each) for each in groups if each["status"] in (contract.FAILED, contract.STALE)),
        # HTML parsers end a script at "</script", so the data must not contain "<".
        "data": json.dumps(json_data(data), ensure_ascii=False, separators=(",", ":")).translate(
            {ord(character): "\\u%04x" % ord(character) for character in "<>&\u2028\u2029"}),
        "policy": "default-src 'none'; base-uri 'none'; form-action 'none'; script-src %s; style-src 'unsafe-hashes' %s"
                  % (_digests(assets["chartist.umd.js"], assets["page.js"]),
                     _digests(assets["page.css"], *CHART_STYLES)),
    }
    return re.sub(r"{{([\w.-]+)}}", lambda slot: slots[slot[1]], assets["page.html"])


def _items(lines: Iterable[str]) -> str:
    return "".join("<li>%s</li>" % html.escape(_text.one_line(line)) for line in lines)


def _digests(*texts: str) -> str:
    return " ".join("'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)


def _about(summary: report.Report) -> Iterator[str]:
    if summary["models"]:
        yield "Model %s on vLLM Ascend %s" % (", ".join(summary["models"]), ", ".join(summary["releases"]))
    yield wording.coverage(summary)
    yield from wording.first_services(summary)
    yield "Written %s by ascend.vllm %s" % (summary["generated_at"], summary["collection_version"])


def _findings(summary: report.Report) -> list[Any]:
    """Return each finding once, with the list of its hosts, the most urgent first."""
    groups: dict[str, Any] = {}
    for finding in summary["findings"]:
        shown = {key: value for key, value in finding.items() if key not in ("host", "evidence", "finished_at")}
        groups.setdefault(repr(shown), {**shown, "hosts": []})["hosts"].append(finding["host"])
    return sorted(groups.values(), key=lambda group: _rank(group["status"]))


def _rank(status: str) -> int:
    return _ORDER.index(status) if status in _ORDER else 1


class _Source:
    """The data of the page, and the results that cannot be shown because their format is unexpected."""

    def __init__(self, summary: report.Report, results: report.Results, plans: Mapping[str, Plan],
                 facts: Callable[[Any], Mapping[str, str]], runs: Sequence[history.Entry]) -> None:
        self.summary, self.plans, self.facts, self.runs = summary, plans, facts, runs
        self.results = {host: results.get(host, {}) for host in summary["hosts"]}
        self.unreadable: set[str] = set()
        #: The worst status of the checks of an NPU, by stage, host and number.
        self.npus: dict[tuple[str, str, int], str] = {}
        for finding in summary["findings"]:
            if finding["status"] in (contract.FAILED, contract.WARNED):
                for npu in _npus(finding["subject"]):
                    key = (finding["id"].partition(".")[0], finding["host"], npu)
                    self.npus[key] = min(finding["status"], self.npus.get(key, contract.PASSED), key=_rank)

    def rows(self, stage: str, read: Callable[[str, Mapping[str, Any], StageResult], Iterable[Any]]) -> list[Any]:
        """Return what ``read(host, observed, result)`` yields for all results of a stage that can be read."""
        rows: list[Any] = []
        for host, stages in self.results.items():
            if stage in stages and not stages[stage]["error"]:
                try:
                    rows += list(read(host, stages[stage]["observed"], stages[stage]))
                except _UNEXPECTED:
                    self.unreadable.add("%s/%s.json" % (host, stage))
        return rows

    def npu(self, stage: str, host: str, npu: int) -> Any:
        return _marked(npu, self.npus.get((stage, host, npu)))


def _npus(subject: str | None) -> list[int]:
    """Return the NPUs in a subject such as ``npu 3`` or ``npu 0-2,5``."""
    found: list[int] = []
    if re.fullmatch(r"npu [\d, -]+", subject or ""):
        for first, last in re.findall(r"(\d{1,4})(?:-(\d{1,4}))?", str(subject)):
            found += range(int(first), int(last or first) + 1)
    return found


def _marked(value: Any, status: str | None) -> Any:
    return [str(value), status] if status and status != contract.PASSED else value


def _table(caption: str, head: Sequence[str], rows: Collection[Sequence[Any]]) -> list[Block]:
    """Return a table in which the rows with marked cells come first, or an empty list if there are no rows."""
    def urgency(row: Sequence[Any]) -> int:
        return min([_rank(cell[1]) for cell in row if isinstance(cell, list)], default=len(_ORDER))
    return [{"kind": "table", "caption": caption, "head": head, "rows": sorted(rows, key=urgency)}] if rows else []


def _names(hosts: Iterable[str]) -> str:
    return _text.few(list(dict.fromkeys(hosts)))


def _series(name: str, points: Iterable[tuple[float, float]], limit: bool = False) -> dict[str, Any]:
    return {"name": name, "points": sorted(points), "limit": limit}


# --- Sections --------------------------------------------------------------------------------------------------------

def _plan(source: _Source) -> Iterator[Block]:
    for text in source.summary["plan_warnings"]:
        yield {"kind": "text", "text": text, "status": contract.WARNED}
    hosts: dict[str, list[str]] = {}
    for host, plan in source.plans.items():
        hosts.setdefault(str(plan["hash"]), []).append(host)
    budgets: list[tuple[str, list[float]]] = []
    for digest, names in hosts.items():
        plan, model = source.plans[names[0]], source.plans[names[0]]["model"]
        instances, memory, group = plan["instances"], plan["memory"], plan["group"]
        rows = [
            ("Hosts", _names(names)), ("Model", "%s, served as %s" % (model["name"], model["served_name"])),
            ("Release", "vLLM Ascend %s, CANN %s" % (plan["release"]["id"], plan["release"]["cann"])),
            ("Hardware", plan["hardware"]["name"]), ("Image", plan["image"]["reference"]),
            ("Nodes as one", "%s of %d" % (group["topology"], len(group["members"])) if group else None),
            *((each["name"], "NPUs %s, %s" % (", ".join(map(str, each["npus"])), each["url"] or "no API"))
              for each in instances),
            ("Room in the KV cache", "%d tokens, %s requests of the maximum length" % (
                memory["tokens"], memory.get("sequences")) if memory and "tokens" in memory else None),
            ("Command", " ".join(instances[0]["command"]) if instances else None)]
        yield from _table("Plan %s" % digest, ("Item", "Value"), [row for row in rows if row[1]])
        if memory:
            parts = [memory["weights_gib"], memory["kv_cache_gib"], memory["reserve_gib"]]
            budgets.append((digest, [*parts, round(plan["hardware"]["hbm_mb"] / 1024 - sum(parts), 2)]))
    if budgets:
        names = ["Weights", "KV cache", "Activations and buffers", "Not used by vLLM"]
        yield {"kind": "bars", "title": "Planned memory of an NPU", "unit": "GiB", "labels": [
            "Plan " + digest for digest, _parts in budgets], "series": [
            {"name": name, "values": [parts[index] for _digest, parts in budgets]} for index, name in enumerate(names)]}
    yield from _table("Pins: inputs that keep the verified image and model", ("Input", "Value", "Hosts"),
                      [[pin["name"], pin["value"], _names(pin["hosts"])] for pin in source.summary["pins"]])


def _fabric(source: _Source) -> Iterator[Block]:
    def ends(host: str, observed: Mapping[str, Any], _result: StageResult) -> Iterator[Any]:
        for npu, targets in ((observed.get("ping") or {}).get("matrix") or {}).items():
            for other, losses in targets.items():
                yield from (((host, int(npu)), (str(other), number), float(loss))
                            for number, loss in enumerate(losses) if loss is not None)

    pairs = source.rows("hccl", ends)
    yield from _heat(source, pairs) if pairs else ()
    ports = source.rows("hccl", lambda host, observed, _result: [
        (int(npu), _switch(answers["lldp"]), host) for npu, answers in observed["npus"].items()
        if (answers.get("lldp") or {}).get("tlvs")])
    rails: dict[int, dict[str, list[str]]] = {}
    for npu, switch, host in ports:
        rails.setdefault(npu, {}).setdefault(switch, []).append(host)
    yield from _table("Rails and switches, from LLDP", ("NPU", "Switch", "Ports", "Hosts"), [
        [npu, _marked(switch, None if switch == majority({name: len(each) for name, each in switches.items()})
                      else contract.WARNED), len(hosts), _names(hosts)]
        for npu, switches in sorted(rails.items()) for switch, hosts in switches.items()])
    yield from _table(
        "Optical modules: the worst lane, and its distance to the threshold of the module",
        ("Host", "NPU", "Received mW", "Margin dB", "Sent mW", "Margin dB", "SNR dB", "°C", "Limit °C"),
        source.rows("hccl", lambda host, observed, _result: [
            [host, source.npu("hccl", host, int(npu)), *_optics(answers["optical"])]
            for npu, answers in observed["npus"].items() if (answers.get("optical") or {}).get("present")]))


def _switch(answer: Mapping[str, Any]) -> str:
    return str(answer["tlvs"].get("System Name TLV") or answer["tlvs"].get("Chassis ID TLV"))


def _optics(answer: Mapping[str, Any]) -> Iterator[float | None]:
    def lowest(pattern: str) -> float | None:
        return min((value for key, value in answer.items() if re.fullmatch(pattern, key) and value is not None),
                   default=None)

    for side in ("Rx", "Tx"):
        power, threshold = lowest(side + r" Power\d+"), answer.get(side + "Power Low Thres")
        yield power
        yield round(10 * math.log10(power / threshold), 1) if power and threshold else None
    snr = lowest(r".* SNR Lane\d+")
    yield None if snr is None else round(snr, 1)
    yield from (answer.get("temperature"), answer.get("Temp High Thres"))


def _heat(source: _Source, pairs: Sequence[tuple[tuple[str, int], tuple[str, int], float]]) -> Iterator[Block]:
    """Yield the heat map of the ping mesh. For a large cluster, it shows only the hosts with the most bad pairs."""
    bad = [pair for pair in pairs if pair[2]]
    blamed = [finding for finding in source.summary["findings"] if finding["id"] in ("hccl.ping_mesh", "hccl.ping_loss")
              and finding["status"] in (contract.FAILED, contract.WARNED, contract.WAIVED)]
    votes = Counter(end[0] for pair in bad for end in pair[:2])
    votes.update({finding["host"]: len(pairs) for finding in blamed})
    hosts = sorted(source.results, key=lambda host: -votes[host])[:HEAT_HOSTS]
    ends = sorted({end for pair in pairs for end in pair[:2] if end[0] in hosts},
                  key=lambda end: (list(source.results).index(end[0]), end[1]))
    index = {end: number for number, end in enumerate(ends)}
    losses: list[list[float | None]] = [[None] * len(ends) for _end in ends]
    for sender, receiver, loss in pairs:
        if sender in index and receiver in index:
            losses[index[sender]][index[receiver]] = 100 if ping_loss.failed(loss) else loss
    lost = sum(ping_loss.failed(pair[2]) for pair in pairs)
    suspects = {(finding["host"], npu) for finding in blamed for npu in
                (_npus(finding["subject"]) or [number for name, number in ends if name == finding["host"]])}
    shown = "" if len(hosts) == len(source.results) else " The map shows the %d hosts with the most bad pairs." % len(
        hosts)
    yield {"kind": "heat", "caption": "Ping mesh, NPU to NPU", "ends": ends, "losses": losses,
           "suspects": [index[end] for end in ends if end in suspects],
           "text": "%d pairs were tested: %d got no reply, %d lost packets.%s" % (
               len(pairs), lost, len(bad) - lost, shown)}
    for text in dict.fromkeys(contract.sentence(finding) for finding in blamed):
        yield {"kind": "text", "text": text, "status": contract.FAILED}


def _npu_table(source: _Source) -> Iterator[Block]:
    def read(host: str, observed: Mapping[str, Any], _result: StageResult) -> Iterator[Sequence[Any]]:
        for chip in observed["npu_smi"]["chips"]:
            ecc = chip.get("ecc") or {}
            healthy = None if chip["health"] == "OK" else contract.FAILED
            yield [host, source.npu("npu_driver", host, chip["device"]), chip["name"], _marked(chip["health"], healthy),
                   chip["temperature_c"], chip["power_w"], chip["aicore_percent"],
                   *(chip[key] and round(chip[key] / 1024, 1) for key in ("hbm_used_mb", "hbm_total_mb")),
                   *(int(ecc[key]) if str(ecc.get(key)).isdigit() else None for key in (
                       "HBM Single Bit Error Count", "HBM Double Bit Error Count",
                       "HBM Double Bit Isolated Pages Count"))]

    yield from _table("State at the time of the check", (
        "Host", "NPU", "Chip", "Health", "°C", "W", "AICore %", "HBM used GiB", "HBM GiB", "ECC single-bit",
        "ECC double-bit", "Isolated pages"), source.rows("npu_driver", read))


def _versions(source: _Source) -> Iterator[Block]:
    rows, facts = [], dict(source.rows("npu_driver", lambda host, observed, _result: [(host, source.facts(observed))]))
    for fact in dict.fromkeys(fact for known in facts.values() for fact in known):
        values = {host: known[fact] for host, known in facts.items() if fact in known}
        counts = Counter(values.values())
        most = majority(counts)
        rows += [[fact, _marked(value, None if value == most else contract.WARNED), count,
                  _names([host for host in values if values[host] == value]) if len(counts) > 1 else "all"]
                 for value, count in counts.most_common()]
    yield from _table("Versions and hardware; values that differ from those of most hosts are marked",
                      ("Fact", "Value", "Number of hosts", "Hosts"), rows)


def _weights(source: _Source) -> Iterator[Block]:
    def read(host: str, observed: Mapping[str, Any], result: StageResult) -> Iterator[Any]:
        manifest = observed.get("manifest")
        if manifest:
            sizes = {entry["path"]: entry["size"] for entry in manifest["files"]}
            fetched = sum(sizes.get(path, 0) for path in observed.get("fetched") or ())
            seconds = result["duration_s"] or 0
            origin = " ".join(str(manifest[key]) for key in ("source", "repository", "revision") if manifest.get(key))
            yield ((manifest["digest"], origin, len(sizes), round(manifest["bytes"] / GIB, 2),
                    sum(entry["sha256_from"] == "hub" for entry in manifest["files"])),
                   [host, observed.get("stager") or manifest["source"], round(fetched / GIB, 2),
                    round((observed.get("hashed_bytes") or 0) / GIB, 2), round(seconds, 1),
                    round(fetched / seconds / 1e6, 1) if fetched and seconds else None, manifest["recorded_at"]])

    found = source.rows("weights", read)
    hosts: dict[tuple[Any, ...], list[str]] = {}
    for manifest, row in found:
        hosts.setdefault(manifest, []).append(row[0])
    yield from _table("Manifests", ("Digest", "Source", "Files", "GiB", "SHA-256 from the hub", "Hosts"),
                      [[*manifest, _names(names)] for manifest, names in hosts.items()])
    yield from _table("Staging; the time includes the verification", (
        "Host", "From", "Downloaded GiB", "Read and hashed GiB", "Seconds", "MB/s", "Manifest recorded"),
        [row for _manifest, row in found])


def _benchmark(source: _Source) -> Iterator[Block]:
    found = source.rows("benchmark", lambda host, observed, _result: [
        (host, measured) for measured in observed.get("measurements", ())])
    columns = (("request_throughput", "req/s"), ("output_throughput", "Output tok/s"), *(
        ("%s_%s_ms" % (which, metric), "%s %s ms" % (label, which)) for metric, label in (
            ("ttft", "TTFT"), ("tpot", "TPOT"), ("e2el", "E2E")) for which in ("median", "p99")))
    yield from _table("Medians over the repeats", ("Host", "Target", "Repeats", *(label for _key, label in columns)), [
        [host, measured["name"], len(measured["runs"]), *(
            round(measured["summary"][key]["median"], 1) if key in measured["summary"] else None
            for key, _label in columns)] for host, measured in found])
    yield from _table("Compared with the baseline", (
        "Host", "Target", "Metric", "Baseline", "Now", "Limit", "Unit", "Change %", "Verdict"), [
        [host, measured["name"], row["label"], round(row["before"], 2), round(row["after"], 2),
         round(row["limit"], 2) if "limit" in row else None, row["unit"],
         round(100 * row["ratio"] - 100, 1) if row["ratio"] else None, _LIMITS[row.get("worse")]]
        for host, measured in found for row in _compared(measured)])
    swept = [(host, measured["name"], measured["sweep"]) for host, measured in found if measured["sweep"]]
    for host, name, sweep in swept[:CHARTS]:
        load = {"request_rate": "requests/s", "max_concurrency": "concurrent requests"}[sweep["variable"]]
        points = [(point["value"], point["run"]["metrics"]) for point in sweep["points"]]
        meets = "a load of up to %g %s" % (sweep["best"], load) if sweep["best"] else "no load"
        knee = sweep.get("knee")
        yield {"kind": "text", "text": "%s, %s: %s %s, and the knee of the curve is %s." % (
            host, name, meets, "meets the objective" if sweep["objective"] else "was answered without failures",
            "at %g" % knee if knee else "not in the measured range")}
        earlier, earlier_name = sweep.get("earlier", ()), sweep.get("earlier_name")
        named = [("knee", knee), ("highest load within the objective", sweep["objective"] and sweep["best"])]
        for title, keys in (("Time to first token", "ttft"), ("Time per output token", "tpot"),
                            ("End-to-end latency", "e2el")):
            percentiles = sorted({key for _value, metrics in points for key in metrics
                                  if re.fullmatch(r"(median|p\d+)_%s_ms" % keys, key)})
            limits = [_series("objective, %s" % key.partition("_")[0], [(value, limit) for value, _metrics in points],
                              True) for key, limit in sweep["objective"].items() if "_%s_" % keys in key]
            yield {"kind": "lines", "title": "%s of %s by load" % (title, name), "x": load, "y": "ms", "series": [
                *(_series(key.partition("_")[0] + origin, [(value, round(metrics[key], 2)) for value, metrics in curve
                                                           if key in metrics])
                  for origin, curve in (("", points), (" of %s" % earlier_name, earlier)) if curve
                  for key in percentiles), *limits]}
        yield {"kind": "lines", "title": "Output throughput of %s by load" % name, "x": load, "y": "tok/s", "series": [
            _series(title, [(value, round(metrics["output_throughput"], 1)) for value, metrics in curve
                            if "output_throughput" in metrics and (at is None or value == at)])
            for title, curve, at in (
                ("output tokens", points, None), *([("of %s" % earlier_name, earlier, None)] if earlier else []),
                *((title, points, at) for title, at in named if at))]}


def _compared(measured: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the comparisons of a measurement's metrics with its baseline; none if they were not compared."""
    rows: Sequence[Mapping[str, Any]] = ((measured["baseline"] or {}).get("result") or {"rows": ()})["rows"]
    return rows


def _accuracy(source: _Source) -> Iterator[Block]:
    def read(host: str, observed: Mapping[str, Any], result: StageResult) -> Iterator[Sequence[Any]]:
        gates = {check["subject"]: check for check in result["checks"] if check["id"] == "accuracy.gate"}
        for score in observed.get("scores", ()):
            gate = gates.get(score["dataset"])
            yield [host, score["dataset"], score["metric"], _marked(
                score["printed"] if score["score"] is None else "%g" % score["score"], gate and gate["status"]),
                "%g to %g" % tuple(score["interval"]) if score.get("interval") else None,
                gate["expected"] if gate else "no reference", score["answered"], score["failed"]]

    yield from _table("Scores", ("Host", "Dataset", "Metric", "Score", "95 % interval",
                                 "Required, with reference and tolerance", "Answered", "Failed"),
                      source.rows("accuracy", read))
    yield from _table("Compared with another model on the same data", (
        "Host", "Dataset", "Reference model", "Its score", "Served model", "Its score", "Difference", "95 % interval",
        "Verdict"), [
        [row["host"], "%s, %s" % (row["dataset"], row["metric"]), row["compared_with"], row["before"], row["model"],
         row["after"], "%+.4g" % row["delta"], "%+.3g to %+.3g" % tuple(row["interval"]) if row["interval"] else None,
         _marked(row["verdict"], contract.FAILED if row["verdict"] == contract.FAILED else None)]
        for row in source.summary["comparisons"]])


def _history(source: _Source) -> Iterator[Block]:
    runs = source.runs
    if len(runs) < 2:
        return
    yield from _table("Figures that changed, with the first run after the change", (
        "Host", "Figure", "Before", "After", "Unit", "Change %", "First run", "Its plan, if the plan changed"), [
        [row["host"], row["name"], round(row["before"], 2), round(row["after"], 2), row["unit"],
         round(100 * row["after"] / row["before"] - 100, 1) if row["before"] else None, row["run"]["at"],
         _names(row["run"]["plan_hashes"]) if row["run"]["plan_hashes"] != row["last"]["plan_hashes"] else None]
        for row in history.changes(runs)])
    baselines = {row["label"]: row["before"] for row in source.rows("benchmark", lambda _host, observed, _result: [
        row for measured in observed.get("measurements", ()) for row in _compared(measured)])}
    for (name, unit), points in list(history.medians(runs).items())[:CHARTS]:
        if len(points) > 1:
            series = [_series("median of the hosts", points)]
            if name in baselines:
                series.append(_series("baseline", [(number, baselines[name]) for number, _value in points], True))
            yield {"kind": "lines", "title": name, "x": "run", "y": unit, "series": series}
    yield from _table("Runs, the newest first", ("Run", "Written", "Verdict", "Failed hosts", "Release", "Plan"), [
        [number, run["at"], run["headline"], len(run["failing_hosts"]), ", ".join(run["releases"]),
         _names(run["plan_hashes"])] for number, run in reversed(list(enumerate(runs, 1)))])


_SECTIONS: tuple[tuple[str, str, Callable[[_Source], Iterable[Block]]], ...] = (
    ("fabric", "Fabric", _fabric), ("npus", "NPUs", _npu_table), ("versions", "Versions", _versions),
    ("plan", "Plan as deployed", _plan), ("weights", "Weights", _weights), ("benchmark", "Benchmark", _benchmark),
    ("accuracy", "Accuracy", _accuracy), ("history", "Earlier runs", _history))
