import { isSubdir } from "../../conda/file-name.ts";
import { type Column, closing, type Frame, opening, packageList } from "./frame.ts";
import {
  chunks,
  counted,
  countText,
  dayText,
  type Html,
  homeLink,
  html,
  join,
  milliseconds,
  rowId,
  shown,
  sizeText,
} from "./html.ts";
import { type CompareVersions, compareNames, compareText, naturalOrder, ranksOf, totalOrder } from "./order.ts";

/** Up to this many names a channel's page tells more than version and subdirs. */
export const MAX_SUMMARIES = 4000;
const MAX_SUBDIRS = 40;

const COLUMNS: readonly Column[] = [
  { heading: html`Package`, sort: "name" },
  { heading: html`Version`, sort: "version" },
  { heading: html`Platforms` },
];

/** What a channel's page says of one subdir. */
export interface SubdirSummary {
  readonly subdir: string;
  /** Package files. */
  readonly packages: number;
  /** Package names. */
  readonly names: number;
  readonly bytes: number;
  /** Milliseconds or seconds. */
  readonly newest?: number;
}

/** What a channel's page says of one package name. */
export interface PackageSummary {
  readonly summary?: string;
  readonly home?: string;
  readonly license?: string;
  /** The newest one. */
  readonly version?: string;
  readonly subdirs?: readonly string[];
}

/**
 * A channel's `index.html`, piece by piece: its subdirs, and a row for each package name that `summaries` has.
 * Up to 4,000 names a row has summary, home page, licence and links into the subdirs' pages, about 0.6 KB; with more
 * names only the version and one such link, about 0.15 KB. Home pages that aren't http(s) are shown, not linked.
 */
export function* channelPage(options: {
  readonly channelName: string;
  readonly subdirs: readonly SubdirSummary[];
  readonly summaries?: ReadonlyMap<string, PackageSummary>;
  readonly compareVersions?: CompareVersions;
}): Generator<string> {
  const compare = totalOrder(options.compareVersions ?? naturalOrder);
  yield* chunks(pieces(options.channelName, options.subdirs, options.summaries ?? new Map(), compare));
}

function* pieces(
  channelName: string,
  subdirs: readonly SubdirSummary[],
  summaries: ReadonlyMap<string, PackageSummary>,
  compare: CompareVersions,
): Generator<string> {
  const sum = (of: (subdir: SubdirSummary) => number) => subdirs.reduce((total, subdir) => total + of(subdir), 0);
  const newest = Math.max(0, ...subdirs.map((subdir) => milliseconds(subdir.newest) ?? 0));
  const frame: Frame = {
    title: channelName,
    heading: channelName,
    trail: html``,
    facts: [
      summaries.size > 0 ? counted(summaries.size, "package", "packages") : html``,
      counted(
        sum((s) => s.packages),
        "file",
        "files",
      ),
      sizeText(sum((s) => s.bytes)),
      newest > 0 ? html`last updated <time>${dayText(newest)}</time>` : html``,
    ],
    channel: "./",
    footer: html`<p>Days are UTC.</p>`,
  };
  yield opening(frame);
  yield html`<h2 id="subdirs">Platforms</h2>\n`;
  yield subdirs.length === 0 ? html`<p class="note">There are no packages here.</p>\n` : subdirTable(subdirs);
  if (summaries.size > 0) {
    yield html`<h2 id="list">Packages</h2>\n`;
    yield* packageList("names", COLUMNS, rows(summaries, compare));
  }
  yield closing(frame);
}

function* rows(summaries: ReadonlyMap<string, PackageSummary>, compare: CompareVersions): Generator<Html> {
  const ranks = ranksOf(
    [...summaries.values()].map((s) => s.version ?? ""),
    compare,
  );
  const row = summaries.size <= MAX_SUMMARIES ? fullRow : shortRow;
  for (const [name, summary] of [...summaries].sort(([a], [b]) => compareNames(a, b)))
    yield row(name, summary, ranks.get(summary.version ?? "") as number);
}

function subdirTable(subdirs: readonly SubdirSummary[]): Html {
  const rows = [...subdirs]
    .sort((a, b) => compareText(a.subdir, b.subdir))
    .map(
      (s) =>
        html`<tr><th scope="row">${pageLink(s.subdir)}</th><td class="n">${countText(s.names)}</td><td class="n">${countText(s.packages)}</td><td class="n">${sizeText(s.bytes)}</td><td class="n wide">${dayText(milliseconds(s.newest))}</td></tr>\n`,
    );
  return html`<table class="small" aria-labelledby="subdirs">
<thead><tr><th scope="col">Platform</th><th scope="col" class="n">Packages</th><th scope="col" class="n">Files</th><th scope="col" class="n">Size</th><th scope="col" class="n wide">Updated</th></tr></thead>
<tbody>
${join(rows)}</tbody>
</table>
`;
}

/** A subdir, linked to its page, or to a package's row there; only shown when it has no subdir's form. */
function pageLink(subdir: string, name?: string): Html {
  const text = shown(subdir, 40);
  if (!isSubdir(subdir)) return text;
  const id = name === undefined ? undefined : rowId(name);
  return html`<a href="${text}/index.html${id ? html`#${id}` : html``}">${text}</a>`;
}

function fullRow(name: string, { summary, home, license, version, subdirs = [] }: PackageSummary, rank: number): Html {
  const link = home === undefined ? undefined : homeLink(home);
  const lines = [
    home === undefined
      ? html``
      : link === undefined
        ? html`Home page ${shown(home, 200)}`
        : html`<a href="${link}" rel="noopener noreferrer nofollow">${shown(home, 200)}</a>`,
    license ? html`Licence ${shown(license, 120)}` : html``,
    subdirs.length > 0
      ? html`Files for ${join(
          subdirs.slice(0, MAX_SUBDIRS).map((s) => pageLink(s, name)),
          ", ",
        )}`
      : html``,
  ].filter(Boolean);
  return html`<tr data-v="${rank}"><td><details><summary><b>${shown(name, 100)}</b>${summary ? html`<span>${shown(summary, 200)}</span>` : html``}</summary><div class="more">${join(lines.map((line) => html`<p>${line}</p>`))}</div></details><td>${shown(version ?? "", 64)}<td>${platforms(subdirs)}\n`;
}

function shortRow(name: string, { version, subdirs = [] }: PackageSummary, rank: number): Html {
  const text = shown(name, 100);
  const [first] = subdirs;
  const id = rowId(name);
  const head =
    first !== undefined && isSubdir(first) && id
      ? html`<a href="${shown(first, 40)}/index.html#${id}">${text}</a>`
      : text;
  return html`<tr data-v="${rank}"><td>${head}<td>${shown(version ?? "", 64)}<td>${platforms(subdirs)}\n`;
}

function platforms(subdirs: readonly string[]): Html {
  return shown(subdirs.slice(0, MAX_SUBDIRS).join(", "), 80);
}
