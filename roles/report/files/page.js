// SPDX-License-Identifier: GPL-3.0-or-later
// Shows the data of the page. Text from the data only ever becomes a text node or the value of a known attribute.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const MARKS = new Map([["failed", "✕"], ["stale", "↻"], ["warned", "!"], ["not_run", "–"], ["unsupported", "○"],
    ["waived", "~"], ["passed", "✓"]]);
  const STEP = 100;
  const byId = (id) => document.getElementById(id);
  const words = (status) => String(status).replace("_", " ");
  const number = (value) => value.toLocaleString("en", {maximumFractionDigits: 3});

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
    node.append(...children.filter((child) => child !== null));
    return node;
  }
  const classOf = (status) => "s-" + (MARKS.has(status) ? status : "none");
  const marked = (status, text) => [make("span", {"aria-hidden": "true"}, (MARKS.get(status) || "?") + " "), text];
  const badge = (status, text) => make("span", {class: "badge " + classOf(status)}, ...marked(status, text));

  function age(time) {
    const seconds = (Date.now() - Date.parse(time)) / 1000;
    if (!(seconds >= 0)) return time || "";
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]])
      if (seconds >= 2 * size) return Math.floor(seconds / size) + " " + unit + " ago";
    return seconds >= 60 ? "1 min ago" : "just now";
  }

  // Append what build returns for the first items, and a button that appends more.
  function paged(parent, items, build, step = STEP) {
    const after = parent.nodeName === "TBODY" ? parent.parentNode.parentNode : parent;
    let shown = 0;
    const button = make("button", {type: "button", class: "more"});
    const more = (count) => {
      parent.append(...items.slice(shown, shown + count).map(build));
      shown += count;
      button.textContent = "Show all " + number(items.length) + " (" + number(items.length - shown) + " more)";
      if (shown >= items.length) button.remove();
    };
    if (parent.pageButton) parent.pageButton.remove();
    parent.replaceChildren();
    parent.pageButton = button;
    more(step);
    button.addEventListener("click", () => more(items.length));
    if (shown < items.length) after === parent ? parent.append(button) : after.after(button);
  }

  const scrolled = (label, node, tall) => make(
    "div", {class: "scroll" + (tall ? " tall" : ""), role: "region", tabindex: "0", "aria-label": label}, node);

  // --- Tables and charts ----------------------------------------------------------------------------------------
  const byHost = [];  // functions that apply the filter of hosts

  function cell(value, first) {
    const content = value === null ? "–" : Array.isArray(value) ? badge(value[1], value[0])
      : typeof value === "number" ? number(value) : value;
    const kind = typeof value === "number" || value === null ? "number" : null;
    return first ? make("th", {scope: "row"}, content) : make("td", {class: kind}, content);
  }

  function table(block) {
    const numeric = (index) => block.rows.some((row) => typeof row[index] === "number");
    const body = make("tbody", {});
    const result = scrolled(block.caption, make("table", {}, make("caption", {}, block.caption), make("thead", {}, make(
      "tr", {}, ...block.head.map((name, index) => make(
        "th", {scope: "col", class: numeric(index) ? "number" : null}, name)))), body), block.rows.length > 20);
    const show = (matches) => paged(body, block.head[0] === "Host" ? block.rows.filter(
      (row) => matches(String(row[0]))) : block.rows, (row) => make("tr", {}, ...row.map((value, index) => cell(
      value, index === 0))));
    const holder = make("div", {}, result);
    show(() => true);
    if (block.head[0] === "Host") byHost.push(show);
    return holder;
  }

  function swatch(kind, bar) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [name, value] of [["x1", 0], ["y1", 5], ["x2", 28], ["y2", 5], ["class", bar ? "ct-bar" : "ct-line"]])
      line.setAttribute(name, value);
    svg.setAttribute("class", "line-" + kind);
    svg.setAttribute("aria-hidden", "true");
    svg.append(line);
    return svg;
  }

  const kindOf = (series, index) => series.limit ? "limit" : index % 4;
  const axis = {labelInterpolationFnc: (value) => number(Math.round(value * 100) / 100)};

  function chart(block, draw, values, summary) {
    const holder = make("div", {role: "img", "aria-label": block.title + ". " + summary});
    const bar = block.kind === "bars";
    const figure = make("figure", {}, make("figcaption", {}, make("strong", {}, block.title), bar ? block.unit
      : block.y + ", by " + block.x), holder, make("ul", {class: "legend"}, ...block.series.map((series, index) => make(
      "li", {}, swatch(kindOf(series, index), bar), series.name))), make("details", {}, make(
      "summary", {}, "Values as a table"), table(values)));
    drawings.push(() => draw(holder));
    return figure;
  }
  const drawings = [];  // charts are drawn when they are on the page and have a width

  function lines(block) {
    const all = block.series.flatMap((series) => series.points.map((point) => point[0]));
    const xs = [...new Set(all)].sort((one, other) => one - other);
    const series = block.series.map((each, index) => ({name: each.name, className: "line-" + kindOf(each, index),
      data: each.points.map(([x, y]) => ({x, y}))}));
    const summary = block.series.filter((each) => each.points.length).map((each) => each.name + ": " + number(
      each.points[0][1]) + " to " + number(each.points[each.points.length - 1][1]) + " " + block.y).join("; ");
    const rows = xs.map((x) => [x, ...block.series.map((each) => (each.points.find((point) => point[0] === x) || [x, null])[1])]);
    return chart(block, (holder) => new Chartist.LineChart(holder, {series}, {
      height: "15rem", fullWidth: true, chartPadding: {right: 24, top: 20}, lineSmooth: Chartist.Interpolation.none(),
      axisX: {type: Chartist.AutoScaleAxis, onlyInteger: all.every(Number.isInteger), ...axis},
      axisY: {type: Chartist.AutoScaleAxis, low: 0, offset: 48, ...axis}}),
    {caption: block.title, head: [block.x, ...block.series.map((each) => each.name)], rows}, summary);
  }

  function bars(block) {
    const series = block.series.map((each, index) => ({className: "line-" + index % 4, data: each.values}));
    const rows = block.labels.map((label, index) => [label, ...block.series.map((each) => each.values[index])]);
    const summary = rows.map((row) => row[0] + ": " + block.series.map((each, index) => each.name + " " + number(
      row[index + 1])).join(", ")).join("; ");
    return chart(block, (holder) => new Chartist.BarChart(holder, {labels: block.labels, series}, {
      height: block.labels.length < 3 ? "7rem" : "15rem", stackBars: true, horizontalBars: true, chartPadding: {right: 24},
      axisY: {offset: 130}, axisX: axis}),
    {caption: block.title, head: ["Plan", ...block.series.map((each) => each.name)], rows}, summary);
  }

  function heat(block) {
    const suspects = new Set(block.suspects);
    const end = (index) => block.ends[index][0] + " NPU " + block.ends[index][1];
    const head = (index, scope) => make("th", {scope, title: end(index), class: suspects.has(index) ? "suspect" : null},
      (suspects.has(index) ? "▲" : "") + block.ends[index][1]);
    const spans = [];
    for (const [host] of block.ends) spans.length && spans[spans.length - 1][0] === host ? spans[spans.length - 1][1]++ : spans.push([host, 1]);
    const starts = new Map(spans.map(([host, count], index) => [
      spans.slice(0, index).reduce((sum, each) => sum + each[1], 0), [host, count]]));
    const shown = (loss, row, column) => {
      const [status, text] = loss === null ? ["none", ""] : loss >= 100 ? ["failed", "✕"]
        : loss ? ["warned", Math.round(loss)] : ["passed", "·"];
      const words = loss === null ? "not tested" : loss >= 100 ? "no reply" : loss + " % lost";
      return make("td", {class: "s-" + status, title: end(row) + " to " + end(column) + ": " + words}, text);
    };
    return make("div", {}, make("p", {}, block.text), scrolled(block.caption, make(
      "table", {class: "heat"}, make("caption", {}, block.caption + ". Rows send, columns receive."), make(
        "thead", {}, make("tr", {}, make("td", {colspan: 2}), ...spans.map(([host, count]) => make(
          "th", {scope: "colgroup", colspan: count}, host))), make("tr", {}, make("td", {colspan: 2}), ...block.ends.map(
          (_end, index) => head(index, "col")))), make("tbody", {}, ...block.losses.map((row, index) => make("tr", {},
        starts.has(index) ? make("th", {scope: "rowgroup", rowspan: starts.get(index)[1]}, starts.get(index)[0]) : null,
        head(index, "row"), ...row.map((loss, column) => shown(loss, index, column))))))), make("ul", {class: "legend"},
      make("li", {}, "▲ suspect"), make("li", {}, "✕ no reply"), make("li", {}, "33: percentage of lost packets"),
      make("li", {}, "· every reply"), make("li", {}, "empty: not tested")));
  }

  const KINDS = {table, lines, bars, heat,
    text: (block) => make("p", {class: block.status ? "note " + classOf(block.status) : null}, block.text)};

  function sections() {
    const links = [["stages", "Stages"], ["findings", "Findings"]];
    for (const section of data.sections) {
      const node = make("section", {id: section.id}, make("h2", {}, section.title));
      let charts = null;
      for (const block of section.blocks) {
        const drawn = KINDS[block.kind](block);
        if (drawn.nodeName !== "FIGURE") charts = null;
        else if (!charts) node.append(charts = make("div", {class: "charts"}));
        (charts || node).append(drawn);
      }
      byId("main").append(node);
      links.push([section.id, section.title]);
    }
    if (data.unreadable.length) byId("main").append(make("section", {}, make("h2", {}, "Not shown"), make("p", {},
      "The observations in these results have an unexpected format: " + data.unreadable.join(", ") + ".")));
    byId("sections").append(...links.map(([id, title]) => make("a", {href: "#" + id}, title)));
    drawings.forEach((draw) => draw());
  }

  // --- Findings and stages --------------------------------------------------------------------------------------
  const anchor = (...parts) => "#" + parts.map(encodeURIComponent).join("/");
  const asText = (value) => value === null ? "nothing" : typeof value === "object" ? JSON.stringify(value) : String(value);
  for (const finding of data.findings) {
    finding.check = finding.id.split(".").slice(1).join(".");
    finding.text = [finding.id, finding.title, finding.subject, finding.message, finding.remedy, asText(
      finding.expected), asText(finding.actual)].join(" ").toLowerCase();
  }

  const hostsOf = (hosts) => hosts.length > 3 ? hosts.length === data.hosts.length ? "all " + hosts.length + " hosts"
    : hosts.slice(0, 2).join(", ") + " and " + (hosts.length - 2) + " more" : hosts.join(", ");

  function finding(each, hosts, open) {
    const places = make("ul", {});
    const values = each.expected !== null || each.actual !== null;
    const detail = [
      each.message ? [each.status === "waived" ? "Waived because" : "Why", each.message, "prose"] : null,
      values ? ["Expected", asText(each.expected), null] : null, values ? ["Found", asText(each.actual), null] : null,
      each.remedy && each.status !== "not_run" ? ["What to do", each.remedy, "prose"] : null,
    ].filter((row) => row !== null).flatMap(([name, text, kind]) => [
      make("dt", {}, name), make("dd", {class: kind}, text)]);
    const node = make("details", {class: "finding " + classOf(each.status)}, make("summary", {}, make(
      "span", {}, badge(each.status, words(each.status))), make("span", {}, each.title + (each.subject ? " – "
      + each.subject : "")), make("span", {class: "where"}, hostsOf(hosts))), make("div", {}, make("dl", {}, ...detail,
      make("dt", {}, "Check"), make("dd", {}, each.id + " (" + each.severity + ")"), make("dt", {}, "Evidence"), make(
        "dd", {class: "prose"}, places))));
    node.open = open;
    node.finding = each;
    paged(places, hosts, (host) => make("li", {}, make("a", {href: anchor(host, each.stage, each.check)}, host), " (",
      make("a", {href: "./" + encodeURIComponent(host) + "/" + encodeURIComponent(each.stage) + ".json",
        "aria-label": "result of " + each.stage + " on " + host}, "result"), ")"), 12);
    return node;
  }

  function matrix(rows, stages) {
    const body = make("tbody", {});
    byId("matrix").replaceChildren(scrolled("Stages", make("table", {class: "matrix"}, make("caption", {},
      "Worst status of each stage, and its age. A cell leads to its findings."), make("thead", {}, make("tr", {}, make(
      "th", {scope: "col"}, "Host"), ...stages.map((stage) => make("th", {scope: "col"}, stage)))), body), rows.length > 12));
    const order = [...MARKS.keys()];
    const worst = ([, cells]) => Math.min(...cells.map(([status]) => order.indexOf(status)));
    paged(body, rows.length > 12 ? [...rows].sort((one, other) => worst(one) - worst(other)) : rows, ([host, cells, node]) => make("tr", {}, make("th", {scope: "row"}, (node ? node + " / " : "") + host), ...stages.map((stage) => {
      const [status, time, checks, note, old] = cells[data.stages.indexOf(stage)];
      const counts = Object.entries(checks).map(([name, count]) => count + " " + words(name)).join(", ");
      return make("td", {}, make("a", {class: "cell " + classOf(status), href: anchor(host, stage),
        title: [time, counts, note].filter(Boolean).join("; ")}, ...marked(status, words(status)), make(
        "small", {}, (old ? "old: " : "") + (age(time) || "\u00a0"))));
    })));
  }

  const boxes = () => [...byId("statuses").querySelectorAll("input")];
  function clear() {
    boxes().forEach((box) => { box.checked = true; });
    for (const id of ["stage", "host", "text"]) byId(id).value = "";
  }

  function update(target) {
    const statuses = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
    const [stage, host, text] = ["stage", "host", "text"].map((id) => byId(id).value.trim().toLowerCase());
    const exact = data.hosts.some(([name]) => name.toLowerCase() === host);
    const matches = (name) => !host || (exact ? name.toLowerCase() === host : name.toLowerCase().includes(host));
    const found = data.findings.map((each) => [each, each.hosts.filter(matches)]).filter(([each, hosts]) => hosts.length
      && statuses.has(each.status) && (!stage || each.stage === stage) && (!text || each.text.includes(text)
      || hosts.some((name) => name.toLowerCase().includes(text))));
    byId("count").textContent = number(found.length) + " of " + number(data.findings.length) + " findings";
    const few = found.length <= 2;
    paged(byId("list"), found, ([each, hosts]) => finding(each, hosts, few || each.status === "failed"
      || (target !== undefined && each === target)), target ? Infinity : 60);
    const partial = boxes().some((box) => !box.checked);
    const stages = data.stages.filter((name) => !stage || name === stage);
    matrix(data.hosts.filter(([name, cells]) => matches(name) && (!partial || stages.some((each) => statuses.has(
      cells[data.stages.indexOf(each)][0])))), stages);
    byHost.forEach((show) => show(matches));
  }

  // "#host/stage/check" opens a finding, "#host/stage" filters, and other fragments are the sections.
  function follow() {
    const [host, stage, check] = location.hash.slice(1).split("/").map((part) => {
      try { return decodeURIComponent(part); } catch { return part; }
    });
    if (stage === undefined) return;
    clear();
    const target = check === undefined ? null : data.findings.find((each) => each.stage === stage
      && each.check === check && each.hosts.includes(host));
    byId("host").value = host;
    byId("stage").value = data.stages.includes(stage) ? stage : "";
    update(target);
    const node = target && [...byId("list").children].find((each) => each.finding === target);
    byId("findings").scrollIntoView();
    (node ? node.querySelector("summary") : byId("findings")).focus();
    if (node) node.scrollIntoView({block: "center"});
  }

  function filters() {
    const counts = new Map();
    for (const each of data.findings) counts.set(each.status, (counts.get(each.status) || 0) + 1);
    const cells = new Set(data.hosts.flatMap(([, row]) => row.map(([status]) => status)));
    byId("statuses").append(...[...MARKS.keys()].filter((status) => counts.has(status) || cells.has(status)).map(
      (status) => make("label", {class: classOf(status)}, make("input", {type: "checkbox", value: status, checked: ""}),
        words(status) + (counts.has(status) ? " " + number(counts.get(status)) : ""))));
    byId("stage").append(...data.stages.map((stage) => make("option", {value: stage}, stage)));
    byId("hosts").append(...data.hosts.slice(0, 2000).map(([host]) => make("option", {value: host})));
    byId("filters").addEventListener("input", () => update());
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").addEventListener("reset", (event) => {
      event.preventDefault();
      clear();
      update();
    });
  }

  filters();
  update();
  sections();
  follow();
  addEventListener("hashchange", follow);
})();
