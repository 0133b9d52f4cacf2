import { createHash } from "node:crypto";
import { type Html, html, join, shown, trusted } from "./html.ts";
import { SCRIPT } from "./script.ts";
import { STYLE } from "./style.ts";

const source = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/**
 * What the browser may do for a page: our style sheet, our script, the icon that stands in the page. No request to
 * anywhere, no form, no other base for links, no markup out of text.
 */
const POLICY = trusted(
  [
    "default-src 'none'",
    `style-src ${source(STYLE)}`,
    `script-src ${source(SCRIPT)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join("; "),
);

/** By this a page is known as ours: one that somebody made by hand is not written over. */
const GENERATOR = trusted('<meta name="generator" content="meso-forge-mirror">');

/** Whether a file is a page that we made. */
export function isOurPage(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 4096)).includes(GENERATOR);
}

const ICON = trusted(
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='none' stroke='%230a8a73' stroke-width='1.6' stroke-linejoin='round' d='M8 1.5 14 4.8v6.4L8 14.5 2 11.2V4.8zM2 4.8 8 8l6-3.2M8 8v6.5'/%3E%3C/svg%3E",
);

const INSTALL = [
  [
    "pixi",
    html`pixi workspace channel add <var class="channel">CHANNEL</var> &amp;&amp; pixi add <var class="package">PACKAGE</var>`,
  ],
  ["mamba", html`mamba install -c <var class="channel">CHANNEL</var> <var class="package">PACKAGE</var>`],
  ["conda", html`conda install -c <var class="channel">CHANNEL</var> <var class="package">PACKAGE</var>`],
] as const;

/** Cuts of what stands in a page's head. */
const MAX_HEADING = 120;

/** What all pages share: the head with its policy, the heading, how to install, and the footer. */
export interface Frame {
  /** Foreign text. */
  readonly title: string;
  /** Foreign text. */
  readonly heading: string;
  readonly trail: Html;
  readonly facts: readonly Html[];
  /** Where the channel is, from the page. */
  readonly channel: "./" | "../";
  readonly footer: Html;
}

/** Everything before a page's own content. */
export function opening(frame: Frame): Html {
  return html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
${GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${titleText(frame.title)}</title>
<link rel="icon" href="${ICON}">
<style>${trusted(STYLE)}</style>
<script>${trusted(SCRIPT)}</script>
</head>
<body>
<header>
${frame.trail}
<h1>${shown(frame.heading, MAX_HEADING)}</h1>
<p class="facts">${join(frame.facts.filter(Boolean).map((fact) => html`<span>${fact}</span>`))}</p>
</header>
<main>
${install(frame.channel)}
`;
}

/** Everything after it. */
export function closing(frame: Frame): Html {
  return html`</main>
<footer>${frame.footer}<p class="away status" role="status"></p></footer>
</body>
</html>
`;
}

function install(channel: Frame["channel"]): Html {
  const tools = INSTALL.map(
    ([tool], i) =>
      html`<label><input type="radio" name="tool" autocomplete="off" value="${trusted(tool)}"${trusted(i === 0 ? " checked" : "")}>${trusted(tool)}</label>`,
  );
  const lines = INSTALL.map(
    ([tool, line]) =>
      html`<p><b>${trusted(tool)}</b><code>${line}</code><button type="button" class="live copy">Copy</button></p>`,
  );
  return html`<section class="use" aria-labelledby="use">
<div class="bar"><h2 id="use">Install from this channel</h2>
<fieldset class="tools live"><legend class="away">Tool</legend>${join(tools)}</fieldset></div>
<div class="hint note">CHANNEL stands for the address of <a href="${trusted(channel)}">the channel’s folder</a>, PACKAGE for a name below.</div>
<div class="lines" data-channel="${trusted(channel)}">${join(lines)}</div>
</section>
`;
}

/** Rows of one `<tbody>`: a browser lays these out when they come near the window. The script has the same number. */
const ROWS_OF_A_BODY = 100;

/** A column of a list: its heading, and what the script sorts it by. */
export interface Column {
  readonly heading: Html;
  readonly sort?: "name" | "version" | "size" | "date" | "count";
  readonly numeric?: true;
}

/**
 * The list of packages with its search field, which is shown when the script runs. `id` is the one of its heading.
 * `kind` is the style sheet's: a row's first cell spans the row and may hold details.
 */
export function* packageList(
  kind: "plain" | "links" | "names",
  columns: readonly Column[],
  rows: Iterable<Html>,
): Generator<Html> {
  const heads = columns.map(
    ({ heading, sort, numeric }) =>
      html`<th scope="col"${trusted(numeric ? ' class="n"' : "")}${trusted(sort ? ` data-sort="${sort}"` : "")}>${heading}</th>`,
  );
  yield html`<div class="find live" role="search"><input type="search" aria-label="Search packages" placeholder="Search packages" autocomplete="off" spellcheck="false"><output aria-live="polite"></output></div>
<table class="list ${trusted(kind)}" aria-labelledby="list">
<thead><tr>${join(heads)}</tr></thead>
`;
  let count = 0;
  for (const row of rows) {
    if (count++ % ROWS_OF_A_BODY === 0) yield html`<tbody>\n`;
    yield row;
  }
  yield html`</table>\n`;
}

/** A title holds no elements, so nothing can be isolated in it: what isn't ASCII but letters stays, the rest is replaced. */
function titleText(title: string): Html {
  return trusted(shown(title, 2 * MAX_HEADING).replace(/<\/?bdi>/g, ""));
}
