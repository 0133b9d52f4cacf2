import { printable } from "../errors.ts";
import type { InfoReport, InfoRow, PackageRow } from "../info.ts";
import { bytesText, errorJson } from "./render.ts";

/** How `info` can print. */
export type Encoding = "table" | "yaml" | "json";

/** Of so many rows the whole is told before the first, and a table fits all of them; a longer list is told as it comes. */
const SHORT = 1000;

/** A line of text at a time, without its newline. */
export type Write = (line: string) => void | Promise<void>;

/** Prints what `info` finds, row by row. */
export interface InfoWriter {
  /** Whether some of it was written already. */
  readonly telling: boolean;
  row(row: InfoRow, about: About): Promise<void>;
  /** After the last row. */
  end(about: About): Promise<void>;
}

type About = Pick<InfoReport, "source" | "type">;

/** @param now for ages, in milliseconds since 1970. */
export async function infoWriter(encoding: Encoding, now: number, write: Write): Promise<InfoWriter> {
  const form = encoding === "json" ? jsonForm() : encoding === "yaml" ? await yamlForm() : tableForm(now);
  let first: InfoRow[] | undefined = [];
  let count = 0;
  const begin = async (rows: readonly InfoRow[], about: About, whole: boolean) => {
    for (const line of form.head(rows, about, whole)) await write(line);
    for (const one of rows) for (const line of form.row(one)) await write(line);
  };
  return {
    get telling() {
      return first === undefined;
    },
    async row(row, about) {
      count++;
      if (!first) for (const line of form.row(row)) await write(line);
      else if (first.push(row) > SHORT) {
        const rows = first;
        first = undefined;
        await begin(rows, about, false);
      }
    },
    async end(about) {
      if (first) await begin(first, about, true);
      for (const line of form.end(first ? undefined : count, about)) await write(line);
    },
  };
}

/** What `info` found, as text that ends without a newline. @param now for ages, in milliseconds since 1970. */
export async function infoText(report: InfoReport, encoding: Encoding, now: number): Promise<string> {
  const lines: string[] = [];
  const writer = await infoWriter(encoding, now, (line) => void lines.push(line));
  for (const row of report.rows) await writer.row(row, report);
  await writer.end(report);
  return lines.join("\n");
}

/** How rows are written, as lines. */
interface Form {
  /** @param rows those that are known by now: all of them, or else the first. */
  head(rows: readonly InfoRow[], about: About, whole: boolean): Iterable<string>;
  row(row: InfoRow): Iterable<string>;
  /** @param count of all rows, where the head could not tell it. */
  end(count: number | undefined, about: About): Iterable<string>;
}

function jsonForm(): Form {
  let before: string | undefined;
  return {
    head: (rows) => (rows.length === 0 ? [] : ["["]),
    *row(row) {
      if (before !== undefined) yield `${before},`;
      before = JSON.stringify(rowJson(row), undefined, 2).replace(/^/gm, "  ");
    },
    end: () => (before === undefined ? ["[]"] : [before, "]"]),
  };
}

async function yamlForm(): Promise<Form> {
  const { stringify } = await import("yaml");
  let empty = true;
  let things = "";
  return {
    head(rows, about, whole) {
      things = thingsOf(about, rows);
      const lines = [
        titleOf(about, things),
        ...(whole ? [`Total ${things} found: ${rows.length}`] : []),
        'The command that takes one is its "mirror"; --name-filter and --description-filter shorten the list',
      ];
      return [...lines.map((line) => `# ${oneLine(line)}`), ""];
    },
    row(row) {
      empty = false;
      return [stringify([rowJson(row)], { lineWidth: 0 }).trimEnd()];
    },
    end: (count) => [
      ...(empty ? ["[]"] : []),
      ...(count === undefined ? [] : ["", `# Total ${things} found: ${count}`]),
    ],
  };
}

function tableForm(now: number): Form {
  let columns: readonly Column[] = [];
  let widths: number[] = [];
  let things = "";
  let lone: string | undefined;
  const cells = (row: InfoRow) => columns.map(([, of]) => oneLine(of(row) ?? ""));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] as number))
      .join("  ")
      .trimEnd();
  return {
    head(rows, about, whole) {
      things = thingsOf(about, rows);
      const [only] = rows;
      if (!only) return [`No ${things} found.`];
      if (rows.length === 1 && only.kind === "package" && only.details) {
        lone = packageText(only, now);
        return [];
      }
      columns = columnsOf(rows, now).filter(([, of]) => !whole || rows.some((row) => of(row)));
      widths = columns.map(([heading]) => heading.length);
      for (const row of rows)
        for (const [i, cell] of cells(row).entries()) widths[i] = Math.max(widths[i] as number, cell.length);
      const headings = line(columns.map(([heading]) => heading));
      if (!whole) return [`${titleOf(about, things)}:`, "", headings];
      return [`Found ${rows.length} ${rows.length === 1 ? things.replace(/s$/, "") : things}:`, "", headings];
    },
    row: (row) => [lone ?? line(cells(row))],
    end: (count) => (count === undefined ? [] : ["", `Found ${count} ${things}.`]),
  };
}

function thingsOf({ type }: About, rows: readonly InfoRow[]): string {
  const kinds = new Set(rows.map((row) => row.kind));
  if (kinds.size === 0) return type === "github" ? "artifacts" : type === "azure" ? "builds" : "packages";
  return kinds.size > 1 ? "offers" : `${[...kinds][0]?.replace("-", " ")}s`;
}

function titleOf(report: About, things: string): string {
  if (report.type === "github" && things === "artifacts") return "GitHub Artifacts";
  if (report.type === "azure" && things === "artifacts") return "Azure DevOps Artifacts";
  if (report.type === "azure" && things === "builds") return `Azure DevOps Builds for ${report.source}`;
  return `${things[0]?.toUpperCase()}${things.slice(1)} of ${report.source}`;
}

/** The command that takes what a row tells of, ready to be pasted. */
function commandOf({ take }: InfoRow): string | undefined {
  return take && `meso-forge-mirror mirror ${take.map(shellWord).join(" ")} --tgt ./my-channel`;
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A row as programs read it: what its service says of it under that one's names, or the package's own words. */
function rowJson(row: InfoRow): Record<string, unknown> {
  const command = commandOf(row);
  const mirror = command === undefined ? {} : { mirror: command };
  if (row.kind !== "package") {
    const { record, columns: _, take: __, ...said } = row;
    return { ...said, ...mirror, ...record };
  }
  const { error, details, take: _, ...facts } = row;
  return { ...facts, ...(error ? { error: errorJson(error) } : {}), ...mirror, ...details };
}

type Column = readonly [heading: string, of: (row: InfoRow) => string | undefined];

/** The columns of each kind, by the headings that the Rust tool gave them where it had such. */
function columnsOf(rows: readonly InfoRow[], now: number): readonly Column[] {
  const offered = (of: (row: Exclude<InfoRow, PackageRow>) => string | undefined) => (row: InfoRow) =>
    row.kind === "package" ? undefined : of(row);
  const packaged = (of: (row: PackageRow) => string | undefined) => (row: InfoRow) =>
    row.kind === "package" ? of(row) : undefined;
  const size = (row: InfoRow) => (row.size === undefined ? undefined : bytesText(row.size));
  const own = [...new Set(rows.flatMap((row) => (row.kind === "package" ? [] : Object.keys(row.columns ?? {}))))];
  const further = own.map((heading): Column => [heading, offered((row) => row.columns?.[heading])]);
  const command: Column = ["Mirror Command", commandOf];
  if (rows.every((row) => row.kind === "build")) return [["Build ID", offered((row) => row.id)], ...further, command];
  if (rows.every((row) => row.kind === "package")) {
    return [
      ["Subdir", packaged((row) => row.subdir)],
      ["Name", packaged((row) => row.name ?? row.fileName)],
      ["Version", packaged((row) => row.version)],
      ["Build", packaged((row) => row.build)],
      ["Size", size],
      ["Built", packaged((row) => dateText(row.created, now))],
      ["Problem", packaged((row) => (row.error ? row.error.why : row.note))],
      command,
      ["Depends", packaged((row) => row.depends?.join(", "))],
    ];
  }
  return [
    ["ID", offered((row) => row.id)],
    ["Kind", (row) => (new Set(rows.map((r) => r.kind)).size > 1 ? row.kind : undefined)],
    ["Name", (row) => (row.kind === "package" ? row.fileName : row.name)],
    ["State", offered((row) => row.state)],
    ["Size", size],
    ["Created", offered((row) => dateText(row.created, now))],
    ["Expires", offered((row) => dateText(row.expires, now))],
    ["Expired", offered((row) => (row.expired === undefined ? undefined : row.expired ? "Yes" : "No"))],
    ...further,
    command,
  ];
}

const DAY = 86_400_000;

/** "2026-11-25 18:00 UTC (3 d ago)"; what is no date comes back as it is. */
function dateText(iso: string | undefined, now: number): string | undefined {
  if (iso === undefined) return undefined;
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const days = Math.round(Math.abs(now - date.getTime()) / DAY);
  const away = days === 0 ? "" : date.getTime() < now ? ` (${days} d ago)` : ` (in ${days} d)`;
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC${away}`;
}

/** Everything about one package. */
function packageText(row: PackageRow, now: number): string {
  const { details } = row;
  const list = (value: unknown) => (Array.isArray(value) ? value.map(String) : []);
  const about = (key: string) =>
    typeof details?.about?.[key] === "string" ? (details.about[key] as string) : undefined;
  const files = details?.files ?? [];
  const facts: [string, string | readonly string[] | undefined][] = [
    ["file", row.fileName],
    ["from", row.origin],
    ["name", row.name],
    ["version", row.version],
    ["build", row.build === undefined ? undefined : `${row.build} (number ${row.buildNumber ?? "?"})`],
    ["subdir", row.subdir],
    ["size", row.size === undefined ? undefined : `${bytesText(row.size)} (${row.size} bytes)`],
    ["sha256", row.sha256],
    ["md5", row.md5],
    ["built", dateText(row.created, now)],
    ["license", row.license],
    ["summary", about("summary")],
    ["home", about("home")],
    ["depends", row.depends],
    ["constrains", list(details?.index["constrains"])],
    ...Object.entries(details?.runExports ?? {}).map(([kind, specs]): [string, string[]] => [
      `run exports, ${kind}`,
      list(specs),
    ]),
    ["warnings", details?.warnings],
    ["take it with", commandOf(row)],
  ];
  const width = Math.max(...facts.map(([label]) => label.length));
  const lines = facts.flatMap(([label, value]) => {
    const values = typeof value === "string" ? [value] : (value ?? []);
    return values.map((text, i) => `${(i === 0 ? label : "").padEnd(width)}  ${oneLine(text)}`);
  });
  const bytes = files.reduce((sum, f) => sum + (f.size ?? 0), 0);
  const sizes = files.map((f) => (f.size === undefined ? "" : String(f.size)));
  const wide = Math.max(0, ...sizes.map((s) => s.length));
  return [
    ...lines,
    "",
    `${files.length} files${bytes > 0 ? `, ${bytesText(bytes)}` : ""}:`,
    ...files.map((f, i) => `${(sizes[i] as string).padStart(wide)}  ${oneLine(f.path)}`),
  ].join("\n");
}

function oneLine(text: string): string {
  return printable(text.replace(/[\r\n\t]+/g, " "));
}
