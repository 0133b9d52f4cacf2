import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium as driver, type Page } from "playwright-core";
import { channelPage } from "../src/index/page/channel-page.ts";
import type { PageRecord } from "../src/index/page/page-record.ts";
import { MAX_NAMES_TOLD, subdirPage } from "../src/index/page/subdir-page.ts";
import { fileServer } from "./servers/file-server.ts";
import { temporary } from "./support/folders.ts";
import { chromium, needs } from "./support/needs.ts";

const browserNeeded = needs(chromium, "Chromium");

function record(name: string, version: string, more: Partial<PageRecord> = {}): PageRecord {
  const build = more.build ?? "h0_0";
  const fileName = `${name}-${version}-${build}.conda`;
  return { fileName, name, version, build, buildNumber: 0, depends: [], sha256: "ab".repeat(32), ...more };
}

const records = [
  record("numpy", "1.9.3", { size: 7_000_000, timestamp: 1_500_000_000, depends: ["python >=3.6"] }),
  record("numpy", "1.26.4", {
    size: 8_000_000,
    timestamp: 1_700_000_000_000,
    depends: ["python >=3.9", "libblas >=3.9,<4"],
  }),
  record("libblas", "3.9.0", { size: 15_000, timestamp: 1_800_000_000_000, license: "BSD-3-Clause" }),
  record("python", "3.14.0", { size: 35_000_000, timestamp: 1_750_000_000_000 }),
  record("python-dateutil", "2.9.0", { size: 300_000, timestamp: 1_600_000_000_000 }),
];
const attack = `"><img src=x onerror="window.hurt=1"><script>window.hurt=1</script>`;
const hostile = [
  record(attack, attack, {
    ...{
      fileName: `${attack}.conda`,
      license: attack,
      depends: [attack, "</ul></details>"],
      noarch: attack,
      sha256: attack,
    },
  }),
  record("javascript:window.hurt=1", "1", { fileName: "javascript:window.hurt=1//.conda" }),
  record("\u202enoitpursid\u0000", "\u2066".repeat(50), { depends: ["x".repeat(9000)] }),
  record("w".repeat(5000), "9".repeat(5000), { license: "l".repeat(5000), fileName: `${"f".repeat(5000)}.conda` }),
  record("__proto__", "1"),
];
const subdir = (list: Iterable<PageRecord>) =>
  Buffer.from([...subdirPage({ channelName: "my-channel", subdir: "linux-64", records: list })].join(""));
function* many(count: number): Generator<PageRecord> {
  for (let i = 0; i < count; i++) yield record(`package-${i}`, `1.${i % 7}`, { size: i });
}

const files: Record<string, Buffer> = {
  "some/where/index.html": Buffer.from(
    [
      ...channelPage({
        channelName: "my-channel",
        subdirs: [{ subdir: "linux-64", packages: 5, names: 4, bytes: 5e7, newest: 1_800_000_000 }],
        summaries: new Map([
          [
            "numpy",
            { summary: "Arrays", home: "https://numpy.org/", license: "BSD", version: "1.26.4", subdirs: ["linux-64"] },
          ],
          [attack, { summary: attack, home: "javascript:window.hurt=1", license: attack, subdirs: [attack] }],
        ]),
      }),
    ].join(""),
  ),
  "some/where/linux-64/index.html": subdir(records),
  "some/where/hostile/index.html": subdir(hostile),
  "some/where/links/index.html": subdir(many(MAX_NAMES_TOLD + 1)),
  "it's (a) $channel;/linux-64/index.html": subdir(records),
  "some/where/linux-64/numpy-1.26.4-h0_0.conda": Buffer.from("numpy's bytes"),
};

let browser: Promise<Browser> | undefined;
const server = await fileServer(files);
after(async () => (await browser)?.close());

/** Opens a page that a server or a folder has. What it logs, asks for and violates is collected. */
async function open(path: string, options: BrowserContextOptions & { base?: string } = {}) {
  const flags =
    "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
  browser ??= driver.launch({ executablePath: chromium, chromiumSandbox: false, args: flags.split(" ") });
  const { base = `${server.url}/`, ...context } = options;
  const inside = await (await browser).newContext({ viewport: { width: 1000, height: 800 }, ...context });
  const page = await inside.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("dialog", (dialog) => void dialog.dismiss().then(() => complaints.push("a dialog")));
  page.on("request", (request) => requests.push(request.url()));
  await page.addInitScript(
    'addEventListener("securitypolicyviolation", (e) => console.error("violates " + e.violatedDirective, e.blockedURI))',
  );
  await page.goto(base + path);
  return { page, complaints, requests, url: base + path, close: () => inside.close() };
}

/** The names of the rows that the document has, in order; a row that doesn't match a search is taken out of it. */
async function namesOf(page: Page): Promise<string[]> {
  return (await page.locator("td:first-child > details > summary").allTextContents()).map((name) => name.trim());
}

test("pages load without an error, a violation, or a request to anywhere but themselves", browserNeeded, async () => {
  for (const path of Object.keys(files).filter((f) => f.endsWith("index.html"))) {
    const { page, complaints, requests, url, close } = await open(path);
    await page.locator("summary").first().click();
    assert.deepEqual(complaints, [], path);
    assert.deepEqual(
      requests.filter((r) => !r.startsWith("data:")).map((r) => r.split("#")[0]),
      [new URL(url).href],
      path,
    );
    assert.equal(await page.locator("main").count(), 1);
    await close();
  }
});

test("searching narrows the list to the names that hold every word, and says how many", browserNeeded, async () => {
  const { page, complaints, close } = await open("some/where/linux-64/index.html");
  assert.deepEqual(await namesOf(page), ["libblas", "numpy", "python", "python-dateutil"]);
  await page.keyboard.press("/");
  await page.keyboard.type("PYTH");
  await page.locator("output", { hasText: "2 of 4" }).waitFor();
  assert.deepEqual(await namesOf(page), ["python", "python-dateutil"]);
  await page.keyboard.type(" util");
  await page.locator("output", { hasText: "1 of 4" }).waitFor();
  assert.deepEqual(await namesOf(page), ["python-dateutil"]);
  await page.getByRole("searchbox", { name: "Search packages" }).fill("");
  await page.locator("output:empty").waitFor({ state: "attached" });
  assert.equal((await namesOf(page)).length, 4);
  assert.deepEqual(complaints, []);
  await close();
});

test("every column sorts, both ways, by keyboard as well, and says so", browserNeeded, async () => {
  const { page, complaints, close } = await open("some/where/linux-64/index.html");
  const head = (name: string) => page.locator("thead th", { hasText: name });
  const states = () => page.locator("thead th").evaluateAll((all) => all.map((th) => th.getAttribute("aria-sort")));
  assert.deepEqual(await states(), ["ascending", "none", "none", "none", "none"]);
  const expected = {
    Size: ["python", "numpy", "python-dateutil", "libblas"],
    Updated: ["libblas", "python", "numpy", "python-dateutil"],
    Version: ["python", "libblas", "python-dateutil", "numpy"],
    Files: ["numpy", "libblas", "python", "python-dateutil"],
  };
  for (const [name, order] of Object.entries(expected)) {
    await page.getByRole("button", { name, exact: true }).focus();
    await page.keyboard.press("Enter");
    assert.deepEqual(await namesOf(page), order, name);
    assert.equal(await head(name).getAttribute("aria-sort"), "descending");
    assert.equal((await states()).filter((s) => s !== "none").length, 1);
    assert.equal(await page.evaluate("document.activeElement.textContent"), name, "the focus stays");
  }
  await page.getByRole("button", { name: "Size", exact: true }).click();
  await page.getByRole("button", { name: "Size", exact: true }).click();
  assert.equal(await head("Size").getAttribute("aria-sort"), "ascending");
  assert.deepEqual(await namesOf(page), [...expected.Size].reverse());
  await page.getByRole("button", { name: "Package", exact: true }).click();
  assert.deepEqual(await namesOf(page), ["libblas", "numpy", "python", "python-dateutil"]);
  assert.deepEqual(complaints, []);
  await close();
});

test(
  "the install line has the channel's real address, for each tool, and is copied by a click",
  browserNeeded,
  async () => {
    const { page, complaints, close } = await open("some/where/linux-64/index.html", {
      permissions: ["clipboard-read", "clipboard-write"],
    });
    const channel = `${server.url}/some/where`;
    await page.getByText("numpy", { exact: true }).click();
    const row = page.locator("#p-numpy");
    const lines = {
      pixi: `pixi workspace channel add ${channel} && pixi add numpy`,
      mamba: `mamba install -c ${channel} numpy`,
      conda: `conda install -c ${channel} numpy`,
    };
    for (const [tool, line] of Object.entries(lines)) {
      await page.getByRole("radio", { name: tool }).check();
      assert.equal(await row.locator(".lines code:visible").innerText(), line);
      await row.getByRole("button", { name: "Copy" }).click();
      await row.getByRole("button", { name: "Copied" }).waitFor();
      assert.equal(await page.evaluate("navigator.clipboard.readText()"), line);
      assert.equal(await page.locator(".status").innerText(), "Copied");
    }
    assert.equal(await page.locator(".hint").isVisible(), false);
    assert.deepEqual(complaints, []);
    await close();
  },
);

test("where the clipboard isn't to be had the line is selected", browserNeeded, async () => {
  const { page, close } = await open("some/where/linux-64/index.html");
  await page.evaluate(
    'Object.defineProperty(navigator, "clipboard", { value: undefined }); document.execCommand = () => false; 0',
  );
  await page.locator(".use .copy:visible").click();
  await page.getByRole("button", { name: "Selected" }).waitFor();
  const selected = String(await page.evaluate("String(getSelection())"));
  assert.equal(selected.trim(), `pixi workspace channel add ${server.url}/some/where && pixi add PACKAGE`);
  await close();
});

test("an address that a shell would take apart is encoded", browserNeeded, async () => {
  const { page, close } = await open("it's (a) $channel;/linux-64/index.html?x=1#y");
  const line = await page.locator(".use code:visible").innerText();
  assert.equal(line.replace(/^.*add (\S+) &&.*$/, "$1"), `${server.url}/it%27s%20%28a%29%20%24channel%3B`);
  await close();
});

test("without JavaScript every package, version, dependency and link is there", browserNeeded, async () => {
  const { page, complaints, close } = await open("some/where/linux-64/index.html", { javaScriptEnabled: false });
  assert.deepEqual(await namesOf(page), ["libblas", "numpy", "python", "python-dateutil"]);
  assert.equal(await page.locator(".find").isVisible(), false, "no search field that finds nothing");
  assert.equal(await page.locator(".copy:visible").count(), 0);
  assert.equal(await page.locator(".use code:visible").count(), 3);
  await page.getByText("numpy", { exact: true }).click();
  const row = page.locator("#p-numpy");
  await row.locator(".old summary").click();
  for (const part of [
    "1.26.4",
    "1.9.3",
    "python >=3.9",
    "libblas >=3.9,<4",
    "python >=3.6",
    "8.0 MB",
    `sha256 ${"ab".repeat(32)}`,
  ])
    assert.ok(await row.getByText(part).first().isVisible(), part);
  for (const { fileName } of records) assert.equal(await page.locator(`a[href="${fileName}"]`).count(), 1);
  const response = await page.request.get(
    await row.locator("a", { hasText: "numpy-1.26.4" }).evaluate((a) => (a as { href?: string }).href ?? ""),
  );
  assert.equal(await response.text(), "numpy's bytes");
  assert.deepEqual(complaints, []);
  await close();
});

test("from a folder on disk the pages work as they do from a server", browserNeeded, async () => {
  const folder = temporary();
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  const channel = pathToFileURL(join(folder, "some/where")).href;
  const { page, complaints, close } = await open("/index.html", { base: channel });
  await page.getByText("numpy", { exact: true }).click();
  await page.getByRole("link", { name: "linux-64" }).last().click();
  await page.waitForURL(`${channel}/linux-64/index.html#p-numpy`);
  assert.equal(
    await page.locator("#p-numpy .lines code:visible").innerText(),
    `pixi workspace channel add ${channel} && pixi add numpy`,
    "the row that the address names is open",
  );
  await page.locator("#p-numpy").getByRole("link", { name: "libblas" }).click();
  await page.locator("#p-libblas .lines code:visible").waitFor();
  await page.getByRole("link", { name: "my-channel" }).click();
  await page.waitForURL(`${channel}/index.html`);
  assert.deepEqual(complaints, []);
  await close();
});

test("on a phone nothing is wider than the screen, whatever is open", browserNeeded, async () => {
  for (const path of Object.keys(files).filter((f) => f.endsWith("index.html"))) {
    for (const javaScriptEnabled of [true, false]) {
      const { page, close } = await open(path, { viewport: { width: 360, height: 740 }, javaScriptEnabled });
      for (const summary of (await page.locator("td:first-child > details > summary").all()).slice(0, 6))
        await summary.click();
      for (const summary of (await page.locator(".old summary:visible").all()).slice(0, 3)) await summary.click();
      const wide = await page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]");
      assert.deepEqual(wide, [360, 360], `${path}, script ${javaScriptEnabled}`);
      await close();
    }
  }
});

test("hostile names are shown and do nothing", browserNeeded, async () => {
  for (const path of ["some/where/hostile/index.html", "some/where/index.html"]) {
    const { page, complaints, requests, url, close } = await open(path);
    for (const summary of await page.locator("td:first-child > details > summary").all()) await summary.click();
    await page.getByRole("button", { name: "Version", exact: true }).click();
    await page.locator(".find input").fill("img");
    await page.locator("output", { hasText: "1 of" }).waitFor();
    assert.ok((await page.locator(".list").innerText()).includes('"><img src=x onerror="window.hurt=1">'));
    assert.equal(await page.locator("img, main script, iframe, [onerror]").count(), 0);
    assert.equal(await page.evaluate("window.hurt"), undefined);
    assert.equal(await page.locator(`tbody .lines`).count(), 0, "no install line with a name that is none");
    assert.deepEqual(complaints, []);
    assert.deepEqual(
      requests.filter((r) => !r.startsWith("data:")),
      [url],
    );
    await close();
  }
});

test("the longest pages give a row its install line when it comes into view", browserNeeded, async () => {
  const { page, complaints, close } = await open("some/where/links/index.html");
  assert.equal(await page.locator("tbody tr").count(), MAX_NAMES_TOLD + 1);
  await page.getByText("package-10", { exact: true }).click();
  assert.match(await page.locator("tbody .lines code:visible").innerText(), /pixi add package-10$/);
  await page.locator(".find input").fill("package-2345");
  await page.locator("output", { hasText: "1 of 2,501" }).waitFor();
  await page.getByText("package-2345", { exact: true }).click();
  assert.match(await page.locator("tbody .lines code:visible").innerText(), /pixi add package-2345$/);
  assert.deepEqual(complaints, []);
  await close();
});

test("a screen reader finds landmarks, a table with its headers, and named controls", browserNeeded, async () => {
  const { page, close } = await open("some/where/linux-64/index.html");
  const session = await page.context().newCDPSession(page);
  await session.send("Accessibility.enable");
  const rows = await page.locator("tr").count();
  let nodes: { ignored: boolean; role?: { value?: unknown }; name?: { value?: unknown } }[] = [];
  const seen = (role: string) => nodes.filter((n) => !n.ignored && n.role?.value === role);
  // The browser builds the tree piece by piece after the page has loaded; a frame is what it waits for.
  for (let frames = 0; seen("row").length < rows && frames < 600; frames++) {
    await page.evaluate("new Promise((drawn) => requestAnimationFrame(drawn))");
    ({ nodes } = await session.send("Accessibility.getFullAXTree"));
  }
  const namesIn = (role: string) => seen(role).map((n) => String(n.name?.value ?? ""));
  for (const landmark of ["banner", "main", "contentinfo", "navigation", "search"])
    assert.equal(seen(landmark).length, 1, landmark);
  assert.deepEqual(namesIn("table"), ["Packages"]);
  assert.deepEqual(namesIn("columnheader"), ["Package", "Version", "Size", "Updated", "Files"]);
  assert.equal(seen("row").length, 5);
  assert.equal(seen("cell").length + seen("gridcell").length, 20);
  assert.deepEqual(namesIn("heading").sort(), ["Install from this channel", "Packages", "linux-64"]);
  for (const role of ["button", "radio", "searchbox", "link", "DisclosureTriangle"])
    for (const name of namesIn(role)) assert.notEqual(name.trim(), "", `a ${role} without a name`);
  await close();
});
