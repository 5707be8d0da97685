# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report page in Chromium: what it shows, how it is used, and that nothing in the results is executed.

Screenshots are kept in .cache/report-page.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
import results_folder
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / ".cache" / "report-page"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")
# The name of a package on the npm registry, its version, and the SHA-256 of each file that is used unmodified.
VENDORED = {
    "roles/report/files/chartist.umd.js": (
        "chartist 1.5.0, dist/index.umd.js",
        "944597015852d8a65defe451a37202e8232938e98ac2215f08bd42a55d573e9d"),
    "roles/report/files/chartist.LICENSE-MIT": (
        "chartist 1.5.0, LICENSE-MIT",
        "2274fb43fd102672a092a0b4eb3c1352279eac633c2f4607de4722a22461a0d2"),
    "tests/data/axe-core/axe.min.js": (
        "axe-core 4.14.1, axe.min.js",
        "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"),
    "tests/data/axe-core/LICENSE": (
        "axe-core 4.14.1, LICENSE",
        "af175b9d96ee93c21a036152e1b905b0b95304d4ae8c2c921c7609100ba8df7e"),
    "tests/data/axe-core/LICENSE-3RD-PARTY.txt": (
        "axe-core 4.14.1, LICENSE-3RD-PARTY.txt",
        "4f8563870d0fca38bbc3e00b6f670cb7fa9f380ba9f26a7f7d1184a6b18b1653"),
}
INJECTION_TEMPLATES = (
    '<img src=x onerror="PWN">', "<script>PWN</script>", "</script><script>PWN</script>", '"><svg onload=PWN>',
    "<!--<script>PWN", "--><script>PWN</script>", "<iframe srcdoc='<script>parent.PWN</script>'>", "<body onload=PWN>",
    "<details open ontoggle=PWN>", "<input autofocus onfocus=PWN>", "<math><mi//xlink:href='javascript:PWN'>",
    "<style>@import 'http://192.0.2.1/x.css'</style>", "<link rel=stylesheet href=http://192.0.2.1/x.css>",
    "<meta http-equiv=refresh content='0;url=javascript:PWN'>", "<base href=http://192.0.2.1/>",
    "<object data=javascript:PWN>", "<embed src=javascript:PWN>", "<form action=javascript:PWN><button>", "{{data}}",
    "{{script}}", "${PWN}", "javascript:PWN", "';PWN;//", '";PWN;//', "\\u003cscript\\u003ePWN", "&lt;script&gt;PWN",
    "&#60;script&#62;PWN", "\u2028PWN", "\u2029PWN", "</title><script>PWN</script>", "</style><script>PWN</script>",
    "</noscript><script>PWN</script>", "</textarea><script>PWN</script>", "<template><script>PWN</script></template>",
    "<a href=javascript:PWN>click</a>", "<video><source onerror=PWN>", "<audio src=x onerror=PWN>",
    "<marquee onstart=PWN>", "<xss style=animation-name:x onanimationstart=PWN>", "<svg><script>PWN</script></svg>",
    "<svg><animate onbegin=PWN attributeName=x>", "<svg><foreignObject><script>PWN</script>", "<portal src=x>",
    "__proto__", "constructor", "]]><script>PWN</script>", "%3Cscript%3EPWN%3C/script%3E", "+ADw-script+AD4-PWN",
    "\u202e<script>PWN</script>", "\x00<script>PWN</script>",
)
INJECTIONS = [text.replace("PWN", "window.pwned=1") for text in INJECTION_TEMPLATES]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path="/usr/bin/chromium", headless=True, args=ARGUMENTS,
            viewport={"width": 1280, "height": 900})
        yield context
        context.close()


@pytest.fixture
def visit(browser):
    """Return a function (page file, fragment) -> the open page; its ``events`` are errors, dialogs and requests."""
    opened = []

    def start(path, fragment="", media=None, size=None):
        page = browser.new_page()
        opened.append(page)
        page.set_default_timeout(20_000)
        page.events = []
        page.on("console", lambda message: page.events.append(message.text))
        page.on("pageerror", lambda error: page.events.append(str(error)))
        page.on("dialog", lambda dialog: (page.events.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: page.events.append(request.url)
                if request.url.partition("#")[0] != path.as_uri() else None)
        page.add_init_script("addEventListener('securitypolicyviolation', "
                             "(event) => console.error(event.violatedDirective))")
        if size:
            page.set_viewport_size(size)
        page.emulate_media(**(media or {}))
        page.goto(path.as_uri() + fragment)
        return page

    yield start
    for page in opened:
        page.close()


def write_page(folder, hosts):
    """Write the results and the report page of these hosts, and return the path of the page."""
    results_folder.write(folder, hosts)
    path = folder / "report.html"
    path.write_text(results_folder.page(folder, hosts), "utf-8")
    return path


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """The page of four hosts with injected faults."""
    return write_page(tmp_path_factory.mktemp("faulty"), results_folder.names(4))


def findings(page):
    return page.locator(".finding")


def test_vendored_files_are_unmodified():
    assert {path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest() for path in VENDORED} == {
        path: digest for path, (_origin, digest) in VENDORED.items()}


@pytest.mark.slow
def test_page_loads_without_errors_and_requests(visit, faulty):
    page = visit(faulty)
    page.wait_for_load_state("networkidle")
    assert page.events == []
    assert page.locator("nav a").all_inner_texts() == [
        "Stages", "Findings", "Fabric", "NPUs", "Versions", "Plan as deployed", "Weights", "Benchmark", "Accuracy",
        "Earlier runs"]
    # The policy forbids what an injected element would do.
    page.evaluate("() => { const image = new Image(); image.src = 'http://192.0.2.1/x'; document.body.append(image); "
                  "const script = document.createElement('script'); script.textContent = 'window.pwned = 1'; "
                  "document.body.append(script); }")
    page.wait_for_function("() => true")
    assert page.evaluate("window.pwned") is None
    assert {"img-src", "script-src-elem"} <= set(page.events)


@pytest.mark.slow
def test_injected_faults_are_visible(visit, faulty):
    page = visit(faulty)
    assert page.locator("h1").inner_text() == "3 of 4 hosts failed: atlas-01, atlas-02, atlas-03"
    for host, stage, check, actual in results_folder.FAULTS:
        shown = findings(page).filter(has_text=f"{stage}.{check} ").filter(has_text=host)
        assert shown.count() == 1
        assert actual in shown.locator("dl").text_content()
    assert page.locator(".matrix .s-failed").all_inner_texts() == ["✕ failed\n" + page.locator(
        ".matrix small").first.inner_text()] * 3
    fabric = page.locator("#fabric")
    assert fabric.locator(".heat .suspect").all_inner_texts() == ["▲5", "▲1"] * 2
    assert fabric.locator(".heat td[title='atlas-01 NPU 0 to atlas-02 NPU 5: no reply']").inner_text() == "✕"
    assert fabric.locator(".heat td[title='atlas-04 NPU 1 to atlas-03 NPU 0: 33.3 % lost']").inner_text() == "33"
    assert fabric.locator("tr", has_text="0.16").first.inner_text().split()[:6] == [
        "atlas-02", "✕", "5", "0.16", "0.4", "1.197"]
    alarm = page.locator("#npus tbody tr").first.inner_text().split()
    assert alarm[:6] == ["atlas-03", "✕", "3", "910B1", "✕", "Alarm"]
    assert page.locator("#versions tbody tr").first.inner_text().split() == ["kernel", "!", "6.1.0-30", "1", "atlas-03"]
    changed = page.locator("#history table").first
    assert changed.locator("tbody tr").count() == 4
    assert results_folder.CHANGED in changed.locator("tbody tr").first.inner_text()
    assert "8a200ac01b33" in changed.locator("tbody tr").first.inner_text()
    objective = page.locator("#benchmark figure", has_text="Time to first token")
    assert "objective, p99: 1,500 to 1,500 ms" in objective.locator("[role=img]").get_attribute("aria-label")
    assert objective.locator(".ct-chart-line .line-limit .ct-line").count() == 1


@pytest.mark.slow
def test_filters_select_findings_and_hosts(visit, faulty):
    page = visit(faulty)
    total = findings(page).count()
    for status in page.locator("#statuses input").all():
        status.set_checked(status.get_attribute("value") == "failed")
    assert findings(page).count() == 3
    assert page.locator("#count").inner_text() == f"3 of {total} findings"
    page.locator("#stage").select_option("hccl")
    assert findings(page).count() == 1
    assert page.locator(".matrix tbody th").all_inner_texts() == ["atlas-02"]
    page.get_by_role("button", name="Reset").click()
    assert findings(page).count() == total
    page.locator("#host").fill("atlas-03")
    assert {row.split()[0] for row in page.locator("#npus tbody tr").all_inner_texts()} == {"atlas-03"}
    assert page.locator(".matrix tbody tr").count() == 1
    page.locator("#host").fill("")
    page.locator("#text").fill("multi-bit ECC")
    assert findings(page).count() == 1
    page.locator("#text").fill("no such text")
    assert findings(page).count() == 0
    assert page.events == []


@pytest.mark.slow
def test_links_lead_to_findings_and_results(visit, faulty):
    page = visit(faulty, "#atlas-03/npu_driver/chip_health")
    opened = page.locator(".finding[open]")
    assert "Every NPU is healthy" in opened.filter(has_text="npu_driver.chip_health").inner_text()
    assert page.evaluate("document.activeElement.innerText").startswith("✕ failed")
    result = opened.get_by_role("link", name="result of npu_driver on atlas-03").get_attribute("href")
    assert json.loads((faulty.parent / result).read_text("utf-8"))["status"] == "failed"
    page.get_by_role("button", name="Reset").click()
    page.locator(".matrix tr", has_text="atlas-02").locator("a").nth(1).click()
    assert page.evaluate("location.hash") == "#atlas-02/hccl"
    assert {page.locator("#host").input_value(), page.locator("#stage").input_value()} == {"atlas-02", "hccl"}
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    page.goto(faulty.as_uri() + "#%E0%A4%A/x/y")  # not an encoded text
    assert page.events == []


@pytest.mark.slow
def test_page_can_be_used_with_the_keyboard(visit, faulty):
    page = visit(faulty)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "failed"
    total = findings(page).count()
    page.keyboard.press("Space")
    assert findings(page).count() == total - 3
    page.keyboard.press("Space")
    for _step in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    assert findings(page).first.get_attribute("open") is None
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "media", "size"), [
    ("desktop", {}, None), ("dark", {"color_scheme": "dark"}, None), ("phone", {}, {"width": 390, "height": 844}),
    ("print", {"media": "print"}, {"width": 720, "height": 1000})])
def test_page_is_accessible_in_each_form(visit, faulty, name, media, size):
    page = visit(faulty, media=media, size=size)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    red, green, blue = map(int, page.evaluate("getComputedStyle(document.body).backgroundColor")[4:-1].split(","))
    assert (red + green + blue < 200) == (name == "dark")
    if name == "print":
        page.pdf(path=SCREENSHOTS / "print.pdf", format="A4")
        assert not page.locator("#filters").is_visible()
        assert page.locator(".finding:not([open]) dl").first.is_visible()
        return
    axe = (ROOT / "tests/data/axe-core/axe.min.js").read_text("utf-8")
    page.evaluate("() => {" + axe + "}")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    # The later rows of long tables are like the first ones, and the contrast of every cell takes a minute.
    found = page.evaluate("(options) => axe.run({exclude: ['tbody tr:nth-child(n+15)']}, options)", {
        "desktop": {}, "dark": {"runOnly": ["color-contrast"]},
        "phone": {"rules": {"color-contrast": {"enabled": False}}}}[name])
    assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]] == []
    assert len(found["passes"]) > (20 if name != "dark" else 0)


@pytest.mark.slow
def test_injections_are_inert_and_shown_as_text(visit, tmp_path):
    """Each text is the name of a host if a folder can have this name, and in all messages, logs and versions."""
    hosts = [f"host {number} {text}" for number, text in enumerate(INJECTIONS)
             if "/" not in text and text.isprintable()][:20]
    assert (len(INJECTIONS), len(hosts)) == (50, 20)
    found = results_folder.results(hosts)
    for number, (host, text) in enumerate([(hosts[index % len(hosts)], text) for index, text in enumerate(INJECTIONS)]):
        stages = found[host]
        stages["hccl"]["checks"].append(results_folder.check(
            f"hccl.{text}", text, text, text, text, f"{number} {text}", message=text))
        stages["hccl"].update(status=text, error=None)
        stages["hccl"]["observed"]["npus"]["0"]["lldp"]["tlvs"]["System Name TLV"] = text
        stages["npu_driver"]["observed"]["npu_smi"]["chips"][0].update(health=text, name=text)
        stages["npu_driver"]["observed"]["system"]["kernel"] = text
        stages["serving"]["observed"]["instances"][0]["log"] = [text]
        stages["serving"].update(release=text, model=text)
        stages["weights"]["observed"]["manifest"]["revision"] = text
        stages["benchmark"]["observed"]["figures"][0]["name"] = text
        stages["benchmark"]["observed"]["measurements"][0]["name"] = text
        stages["plan"]["plan"]["instances"][0]["command"].append(text)
        stages["plan"]["plan"]["hash"] = text
    for host, stages in found.items():
        (tmp_path / host).mkdir()
        for name, content in stages.items():
            (tmp_path / host / f"{name}.json").write_text(json.dumps(content), "utf-8")
    path = tmp_path / "report.html"
    path.write_text(results_folder.page(tmp_path, hosts), "utf-8")
    page = visit(path, f"#{hosts[0]}/hccl/x")
    page.get_by_role("button", name="Reset").click()
    assert findings(page).count() > 50
    page.evaluate("document.querySelectorAll('button.more').forEach((each) => each.click())")
    for text in INJECTIONS:
        visible = " ".join(text.replace("\x00", "\ufffd").split())
        assert visible in " ".join(page.locator("#list").text_content().replace("\x00", "\ufffd").split()), text
    assert page.evaluate("window.pwned") is None
    assert page.events == []
    assert page.evaluate("[...document.scripts].length") == 3
    allowed = page.evaluate("[...new Set([...document.querySelectorAll('*')].map((each) => each.localName))]")
    assert set(allowed).isdisjoint({"img", "iframe", "object", "embed", "base", "link", "video", "audio", "template",
                                    "math", "portal", "marquee", "xss", "foreignObject > script"})
    assert page.evaluate("[...document.querySelectorAll('*')].flatMap((each) => [...each.attributes]).filter((each) => "
                         "/^on|^srcdoc$/.test(each.name) || /^\\s*javascript:/i.test(each.value)).length") == 0


@pytest.mark.slow
def test_large_page_is_small_fast_and_usable(visit, tmp_path):
    hosts = results_folder.names(100)
    results_folder.write(tmp_path, hosts)
    started = time.process_time()
    text = results_folder.page(tmp_path, hosts)
    assert time.process_time() - started < 3
    assert len(text.encode()) < 2_000_000
    path = tmp_path / "report.html"
    path.write_text(text, "utf-8")
    page = visit(path, "#atlas-03/npu_driver/chip_health")
    assert page.locator(".matrix tbody th").all_inner_texts() == ["atlas-03"]
    page.get_by_role("button", name="Reset").click()
    # Of a large mesh, the map shows the hosts with the most bad pairs.
    assert page.locator("#fabric .heat tbody tr").count() == 64
    assert page.locator("#fabric .heat th[scope=rowgroup]").first.inner_text() == "atlas-02"
    assert set(page.locator("#fabric .heat .suspect").all_inner_texts()) == {"▲5", "▲1"}
    page.locator("#npus button.more").click()
    assert page.locator("#npus tbody tr").count() == 800
