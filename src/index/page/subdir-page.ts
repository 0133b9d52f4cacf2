import { formatOf } from "../../conda/file-name.ts";
import { type Column, closing, type Frame, opening, packageList } from "./frame.ts";
import {
  chunks,
  counted,
  countText,
  dayText,
  fileLink,
  folderLink,
  type Html,
  html,
  join,
  milliseconds,
  rowId,
  shown,
  sizeText,
} from "./html.ts";
import { type CompareVersions, compareNames, compareText, naturalOrder, ranksOf, totalOrder } from "./order.ts";
import type { PageRecord } from "./page-record.ts";

/** Up to this many files a page shows them all. */
export const MAX_FILES_SHOWN = 3000;
/** Up to this many names a page with more files tells of each one's newest version. */
export const MAX_NAMES_TOLD = 2500;
/** That many more builds of the newest version are linked then. */
const MAX_MORE_BUILDS = 5;
const MAX_DEPENDS = 100;

const COLUMNS: readonly Column[] = [
  { heading: html`Package`, sort: "name" },
  { heading: html`Version`, sort: "version" },
  { heading: html`Size`, sort: "size", numeric: true },
  { heading: html`Updated`, sort: "date", numeric: true },
];

/** How much a page tells: all files; each name's newest version; or a link to each name's newest file. */
type Extent = "files" | "newest" | "links";

/** One package name: what its row says, and the files it tells of, newest first. */
interface Entry {
  readonly name: string;
  readonly files: PageRecord[];
  count: number;
  /** Milliseconds. */
  updated: number | undefined;
}

/**
 * A subdir's `index.html`, piece by piece: a row for each package name, with its newest version, that version's newest
 * file's size, the day of its latest file and how many there are; below the row its files. All links are relative, but for those
 * to files that lie elsewhere.
 * Same records, same bytes, whatever their order.
 *
 * A page stays light by telling less of more:
 * - up to 3,000 files: every one, with link, size, day, licence, sha256 and dependencies; 0.5 to 0.7 KB a file;
 * - up to 2,500 names: of each name the newest version, its newest file in full and links to five more builds; about 0.8 KB a name;
 * - beyond: of each name the newest version and a link to its newest file; about 0.15 KB a name.
 * `repodata.json`, which such a page links to, has the rest. Memory is bounded by 3,000 records and six for each name.
 *
 * Newest is by `compareVersions` (default: natural order), then build number, then timestamp. It may throw for what is no
 * version; such come last.
 */
export function* subdirPage(options: {
  readonly channelName: string;
  readonly subdir: string;
  readonly records: Iterable<PageRecord>;
  /** Where packages lie when not beside the page: the index's `base_url`. */
  readonly baseUrl?: string;
  readonly compareVersions?: CompareVersions;
}): Generator<string> {
  const compare = totalOrder(options.compareVersions ?? naturalOrder);
  const seen = collect(options.records, compare);
  const base = options.baseUrl === undefined ? html`` : folderLink(options.baseUrl);
  yield* chunks(pieces(options.channelName, options.subdir, seen, { compare, base }));
}

interface Collected {
  readonly entries: readonly Entry[];
  readonly files: number;
  readonly bytes: number;
  readonly newest: number | undefined;
}

function collect(records: Iterable<PageRecord>, compare: CompareVersions): Collected {
  const byName = new Map<string, Entry>();
  const order = newestFirst(compare);
  let files = 0;
  let bytes = 0;
  let newest: number | undefined;
  for (const record of records) {
    files++;
    bytes += record.size !== undefined && record.size > 0 ? record.size : 0;
    const time = milliseconds(record.timestamp);
    newest = later(newest, time);
    const entry = byName.get(record.name);
    if (!entry) {
      byName.set(record.name, { name: record.name, files: [record], count: 1, updated: time });
    } else {
      entry.count++;
      entry.updated = later(entry.updated, time);
      if (files <= MAX_FILES_SHOWN) entry.files.push(record);
      else keepNewest(entry.files, record, compare, order);
    }
    // From here on older versions are let go: the page won't tell of them.
    if (files === MAX_FILES_SHOWN + 1) for (const e of byName.values()) trim(e.files, order);
  }
  const entries = [...byName.values()].sort((a, b) => compareNames(a.name, b.name));
  if (files <= MAX_FILES_SHOWN) for (const entry of entries) entry.files.sort(order);
  return { entries, files, bytes, newest };
}

function newestFirst(compare: CompareVersions): (a: PageRecord, b: PageRecord) => number {
  return (a, b) =>
    compare(b.version, a.version) ||
    b.buildNumber - a.buildNumber ||
    (milliseconds(b.timestamp) ?? 0) - (milliseconds(a.timestamp) ?? 0) ||
    compareText(a.fileName, b.fileName);
}

function trim(files: PageRecord[], order: (a: PageRecord, b: PageRecord) => number): void {
  files.sort(order);
  const other = files.findIndex((f) => f.version !== files[0]?.version);
  files.length = Math.min(other < 0 ? files.length : other, 1 + MAX_MORE_BUILDS);
}

function keepNewest(
  files: PageRecord[],
  record: PageRecord,
  compare: CompareVersions,
  order: (a: PageRecord, b: PageRecord) => number,
): void {
  if (files.length > 0 && compare(record.version, (files[0] as PageRecord).version) < 0) return;
  files.push(record);
  trim(files, order);
}

function later(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || (b !== undefined && b > a) ? b : a;
}

/** What rows are made with. */
interface Ways {
  readonly compare: CompareVersions;
  /** What goes before a file's name in its link; undefined where files can't be linked. */
  readonly base: Html | undefined;
}

/** What the files of a row are linked with. */
interface Links extends Ways {
  /** Packages that have a row. */
  readonly names: ReadonlySet<string>;
}

function* pieces(channelName: string, subdir: string, seen: Collected, ways: Ways): Generator<string> {
  const { entries, files } = seen;
  const extent: Extent = files <= MAX_FILES_SHOWN ? "files" : entries.length <= MAX_NAMES_TOLD ? "newest" : "links";
  const frame: Frame = {
    title: `${subdir} · ${channelName}`,
    heading: subdir,
    trail: html`<nav aria-label="Channel"><a href="../index.html">${shown(channelName, 120)}</a> /</nav>`,
    facts: [
      counted(entries.length, "package", "packages"),
      counted(files, "file", "files"),
      sizeText(seen.bytes),
      seen.newest === undefined ? html`` : html`last updated <time>${dayText(seen.newest)}</time>`,
    ],
    channel: "../",
    footer: html`<p>The index that clients read: <a href="repodata.json">repodata.json</a>. Days are UTC.</p>`,
  };
  yield opening(frame);
  if (entries.length === 0) yield html`<h2>Packages</h2>\n<p class="note">There are no packages here.</p>\n`;
  else {
    yield html`<h2 id="list" class="away">Packages</h2>\n`;
    yield note(extent, files);
    const last: Column =
      extent === "links"
        ? { heading: html`File`, numeric: true }
        : { heading: html`Files`, numeric: true, sort: "count" };
    yield* packageList(extent === "links" ? "links" : "plain", [...COLUMNS, last], rows(entries, extent, ways));
  }
  yield closing(frame);
}

function note(extent: Extent, files: number): Html {
  if (extent === "files") return html``;
  const what = extent === "newest" ? html`newest version` : html`newest version and a link to its newest file`;
  return html`<p class="note">With ${countText(files)} files this page tells of each package its ${what}; <a href="repodata.json">the index</a> has them all.</p>\n`;
}

function* rows(entries: readonly Entry[], extent: Extent, ways: Ways): Generator<Html> {
  const ranks = ranksOf(entries.map(versionOf), ways.compare);
  const links = { ...ways, names: new Set(extent === "links" ? [] : entries.map((entry) => entry.name)) };
  for (const entry of entries) {
    const rank = ranks.get(versionOf(entry)) as number;
    yield extent === "links" ? bareRow(entry, rank, links) : row(entry, rank, extent, links);
  }
}

function versionOf(entry: Entry): string {
  return (entry.files[0] as PageRecord).version;
}

function row(entry: Entry, rank: number, extent: "files" | "newest", links: Links): Html {
  const [newest, ...others] = entry.files as [PageRecord, ...PageRecord[]];
  const id = rowId(entry.name);
  const details =
    extent === "files"
      ? versions(entry.files, links)
      : html`<h3>${shown(newest.version, 100)}</h3><ul class="files">${fileItem(newest, links)}</ul>${moreBuilds(others, links)}`;
  return html`<tr${id ? html` id="${id}"` : html``} data-v="${rank}"><td><details><summary>${shown(entry.name, 100)}</summary><div class="more">${details}</div></details>${cells(entry)}<td>${countText(entry.count)}\n`;
}

/** As little as a row can be; the script finds it without an id and adds the install lines. */
function bareRow(entry: Entry, rank: number, links: Links): Html {
  const { fileName } = entry.files[0] as PageRecord;
  const link = linked(fileName, html`.${shown(formatOf(fileName) ?? "", 9)}`, links);
  return html`<tr data-v=${rank}><td>${shown(entry.name, 100)}${cells(entry)}<td>${link}\n`;
}

function cells(entry: Entry): Html {
  const newest = entry.files[0] as PageRecord;
  return html`<td>${shown(newest.version, 64)}<td>${sizeText(newest.size)}<td>${dayText(entry.updated)}`;
}

/** Files by version: the newest one's in the open, each older one's folded. */
function versions(files: readonly PageRecord[], links: Links): Html {
  const groups = Map.groupBy(files, (file) => file.version);
  return join(
    [...groups].map(([version, group], i) => {
      const items = html`<ul class="files">${join(group.map((file) => fileItem(file, links)))}</ul>`;
      return i === 0
        ? html`<h3>${shown(version, 100)}</h3>${items}`
        : html`<details class="old"><summary>${shown(version, 100)} <small class="meta">${counted(group.length, "file", "files")}</small></summary>${items}</details>`;
    }),
  );
}

function fileItem(file: PageRecord, links: Links): Html {
  const facts = [
    sizeText(file.size),
    dayText(milliseconds(file.timestamp)),
    file.license === undefined ? html`` : shown(file.license, 120),
    file.noarch === undefined ? html`` : html`noarch ${shown(file.noarch, 40)}`,
  ];
  const meta = join(facts.filter(Boolean).map((fact) => html`<span>${fact}</span>`));
  const sum = file.sha256 === undefined ? html`` : html`<code class="sum">sha256 ${shown(file.sha256, 64)}</code>`;
  return html`<li>${linked(file.fileName, shown(file.fileName, 260), links)} <span class="meta">${meta}</span>${depends(file.depends, links.names)}${sum}</li>`;
}

function depends(specs: readonly string[], names: ReadonlySet<string>): Html {
  if (specs.length === 0) return html``;
  const items = specs.slice(0, MAX_DEPENDS).map((spec) => html`<li>${dependency(spec, names)}`);
  if (specs.length > MAX_DEPENDS) items.push(html`<li>and ${countText(specs.length - MAX_DEPENDS)} more`);
  return html`<ul class="deps" aria-label="Dependencies">${join(items)}</ul>`;
}

/** A dependency, its name linked to that package's row where the page has one. */
function dependency(spec: string, names: ReadonlySet<string>): Html {
  const name = /^[^\s[=<>!~,|]{1,100}/.exec(spec)?.[0];
  const id = name !== undefined && names.has(name) ? rowId(name) : undefined;
  if (name === undefined || !id) return shown(spec, 160);
  return html`<a href="#${id}">${shown(name, 100)}</a>${shown(spec.slice(name.length), 160)}`;
}

function moreBuilds(files: readonly PageRecord[], links: Links): Html {
  if (files.length === 0) return html``;
  return html`<ul class="builds" aria-label="More builds">${join(files.map((file) => html`<li>${shortLink(file, links)}`))}</ul>`;
}

/** A link that says only what tells one build from another. */
function shortLink(file: PageRecord, links: Links): Html {
  const stem = `${file.name}-${file.version}-`;
  const short = file.fileName.startsWith(stem) ? file.fileName.slice(stem.length) : file.fileName;
  return linked(file.fileName, shown(short, 100), links);
}

function linked(fileName: string, text: Html, { base }: Ways): Html {
  const link = fileLink(fileName);
  return link === undefined || base === undefined ? text : html`<a href="${base}${link}">${text}</a>`;
}
