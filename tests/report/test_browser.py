"""The pages in a real Chromium: they load without an error, sort, filter, and can be read in the dark and on a narrow screen.

Runs where ``chromium`` and ``chromedriver`` are installed (Debian: ``apt install chromium chromium-driver``) and selenium is
(``pip install ".[browser]"``); elsewhere the tests are skipped and say what is missing.
"""

import copy
import json
import shutil

import pytest

from RobustART.cli import main
from RobustART.report.labels import family

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver here: apt install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here: pip install selenium")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def board(run_folder, tmp_path_factory):
    """A board of four runs: two families, one of other data, one below the others."""
    folder = tmp_path_factory.mktemp("board")
    report = json.loads((run_folder / "results" / "report.json").read_text())
    sources = ("timm:resnet18", "timm:resnet50.a1_in1k", "timm:vit_base_patch16_224", "timm:tf_efficientnet_lite0")
    for number, source in enumerate(sources):
        data = copy.deepcopy(report)
        kinds = {
            "family": family({"source": source, "architecture": ""}),
            "technique": source.partition(".")[2] or "plain",
        }
        data["model"] |= {"source": source, "parameters": 10 ** (6 + number % 3), **kinds}
        top1 = data["benchmarks"]["clean"]["metrics"]["top1"]
        top1 |= {"value": (50.0, 9.5, 100.0, 70.0)[number], "low": 5.0, "high": 100.0}
        data["benchmarks"]["imagenet_c"]["metrics"]["mean_error_of_these_cells"] |= {"value": 40.0 - number, "low": 5.0}
        if number == 3:
            data["benchmarks"]["clean"]["data"][0]["images"] = 6
        (folder / str(number)).mkdir()
        (folder / str(number) / "report.json").write_text(json.dumps(data))
    page = folder / "board.html"
    assert main(["leaderboard", *(str(folder / str(number)) for number in range(4)), "-o", str(page)]) == 0
    return page


def load(browser, page, *, width=1280, dark=False):
    """Opens a page, and holds it to: no message on the console, nothing asked of any network."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith("data:")] == [page.as_uri()]


@pytest.fixture
def report_page(run_folder):
    return run_folder / "results" / "report.html"


def rows(browser, selector="#runs"):
    script = (
        "return Array.from(document.querySelectorAll(arguments[0] + ' tbody tr')).filter(row => !row.hidden)"
        ".map(row => row.querySelector('th').innerText.split(' ')[0])"
    )
    return browser.execute_script(script, selector)


def head(browser, text):
    """The visible head of the board that begins so."""
    heads = browser.find_elements("css selector", "#runs thead th[data-column]")
    return next(th for th in heads if th.is_displayed() and th.text.startswith(text))


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (400, False), (320, True)])
def test_pages_fit_their_window_in_light_and_dark(browser, report_page, board, width, dark):
    for page in (report_page, board):
        load(browser, page, width=width, dark=dark)
        # Tables scroll inside their boxes; the page itself never does.
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        wide = "return [...document.querySelectorAll('dt')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
        assert browser.execute_script(wide) == []
        plots = browser.find_elements("css selector", "svg.plot")
        assert plots
        assert all(0 < plot.rect["width"] <= width and plot.rect["height"] > 50 for plot in plots)
        contrast = """
            const number = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
              .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
            const light = (colour) => { const [r, g, b] = number(colour); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const ground = (e) => {
              for (; e; e = e.parentElement) {
                const colour = getComputedStyle(e).backgroundColor;
                if (colour !== "rgba(0, 0, 0, 0)") return colour;
              }
            };
            const found = [];
            for (const e of document.querySelectorAll("h1,h2,p,td,th,caption span,dt,dd,figcaption,li,label,button,svg.plot text")) {
              if (!e.checkVisibility() || !e.textContent.trim()) continue;
              const style = getComputedStyle(e);
              const ink = e.tagName === "text" ? style.fill : style.color;
              const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
              if ((a + 0.05) / (b + 0.05) < 4.5) found.push([e.tagName, e.textContent.slice(0, 30), ink, ground(e)]);
            }
            return found;
        """
        assert browser.execute_script(contrast) == []


def test_plots_have_no_text_over_text(browser, report_page):
    load(browser, report_page)
    overlaps = """
        const found = [];
        for (const plot of document.querySelectorAll("svg.plot")) {
          const texts = Array.from(plot.querySelectorAll("text"), (t) => [t.textContent, t.getBoundingClientRect()]);
          const frame = plot.getBoundingClientRect();
          for (const [name, box] of texts) {
            if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(["outside", name]);
          }
          texts.forEach(([one, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (wide > 2 && high > 4) found.push([one, other]);
          }));
        }
        return found;
    """
    assert browser.execute_script(overlaps) == []


def test_the_report_sorts_by_keyboard(browser, report_page):
    from selenium.webdriver.common.keys import Keys

    load(browser, report_page)
    (table, *_) = browser.find_elements("css selector", "table.sortable")
    button = table.find_elements("css selector", "thead button")[2]
    values = "return Array.from(arguments[0].tBodies[0].rows, (row) => Number(row.cells[2].dataset.value))"
    for order, key in (("ascending", Keys.ENTER), ("descending", Keys.SPACE)):
        button.send_keys(key)
        assert table.find_elements("css selector", "thead th")[2].get_attribute("aria-sort") == order
        found = browser.execute_script(values, table)
        assert found == sorted(found, reverse=order == "descending")


def test_the_board_sorts(browser, board):
    load(browser, board)
    assert rows(browser) == [
        "timm:tf_efficientnet_lite0",
        "timm:vit_base_patch16_224",
        "timm:resnet50.a1_in1k",
        "timm:resnet18",
    ]
    first = head(browser, "mean_error_of_these_cells")
    assert first.get_attribute("aria-sort") == "ascending"
    top1 = head(browser, "top1 A")
    top1.find_element("css selector", "button").click()
    # Best first; numbers are sorted as numbers, and a run that may not be compared comes last.
    best = ["timm:vit_base_patch16_224", "timm:resnet18", "timm:resnet50.a1_in1k", "timm:tf_efficientnet_lite0"]
    assert rows(browser) == best
    assert (top1.get_attribute("aria-sort"), first.get_attribute("aria-sort")) == ("descending", None)
    top1.find_element("css selector", "button").click()
    assert rows(browser) == [*best[2::-1], best[3]]
    head(browser, "run").find_element("css selector", "button").click()
    assert rows(browser) == sorted(rows(browser))
    assert len(browser.find_elements("css selector", "#runs th[aria-sort]")) == 1


def test_the_board_filters(browser, board):
    from selenium.webdriver.support.select import Select

    load(browser, board)
    form = browser.find_element("css selector", "form.filters")
    status = form.find_element("css selector", "[role=status]")
    assert form.is_displayed()
    assert status.text == "4 of 4 runs shown"
    search = form.find_element("name", "search")
    search.send_keys("RESNET tim")
    assert rows(browser) == ["timm:resnet50.a1_in1k", "timm:resnet18"]
    assert status.text == "2 of 4 runs shown"
    faded = browser.execute_script(
        "return new Set(Array.from(document.querySelectorAll('.faded'), e => e.id.match(/run-\\d/)[0])).size"
    )
    assert faded == 2
    search.clear()
    search.send_keys(" ")
    Select(form.find_element("name", "family")).select_by_value("ViT (Transformer)")
    assert rows(browser) == ["timm:vit_base_patch16_224"]
    Select(form.find_element("name", "family")).select_by_value("")
    Select(form.find_element("name", "technique")).select_by_value("a1_in1k")
    assert rows(browser) == ["timm:resnet50.a1_in1k"]
    Select(form.find_element("name", "technique")).select_by_value("")
    assert len(rows(browser)) == 4

    def groups():
        heads = browser.find_elements("css selector", "#runs [scope=colgroup]")
        return {th.text: int(th.get_attribute("colspan")) for th in heads if th.is_displayed()}

    def cells():
        return browser.execute_script(
            "return Array.from(document.querySelector('#runs tbody tr').cells).filter(cell => !cell.hidden).length"
        )

    few = groups()
    assert few == {"clean": 2, "imagenet_c": 1, "imagenet_s": 1, "adversarial": 2}
    assert cells() == 8 + sum(few.values())
    form.find_element("name", "details").click()
    assert sum(groups().values()) > 12
    assert cells() == 8 + sum(groups().values())
    form.find_element("css selector", "input[value=adversarial]").click()
    assert set(groups()) == {"clean", "imagenet_c", "imagenet_s"}
    assert cells() == 8 + sum(groups().values())


def test_without_the_script_the_tables_stand(browser, board):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(board.as_uri())
        assert not browser.find_element("css selector", "form.filters").is_displayed()
        assert len(browser.find_elements("css selector", "#runs tbody tr")) == 4
        assert browser.find_elements("css selector", "#runs button") == []
        assert browser.find_element("css selector", "#runs tbody td.number.best").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
