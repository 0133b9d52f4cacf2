/**
 * The pages' script: install lines with the channel's real address, search, sorting, copying, opening the row that the
 * address names. Without it a page holds the same, in the order of names. It makes no markup out of text: only nodes,
 * `textContent` and clones. It stands in the head and waits for the document.
 */
export const SCRIPT = String.raw`
"use strict";
const root = document.documentElement;
root.classList.add("js");
root.dataset.tool = "pixi";

addEventListener("DOMContentLoaded", () => {
  const find = (what, where = document) => where.querySelector(what);
  const lines = find(".lines");
  const list = find(".list");
  const status = find(".status");

  // The channel's address out of the page's own. What a shell could take for its own is percent-encoded.
  const channel = () => {
    if (!/^(https?|file):$/.test(location.protocol)) return;
    const up = new URL(lines.dataset.channel, location.href);
    const path = up.pathname.replace(/\/+$/, "");
    const encoded = path.replace(/[^\w.~:/%+@,=-]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
    const address = up.protocol + "//" + up.host + encoded;
    return address.includes("[") ? '"' + address + '"' : address;
  };
  const address = channel();
  if (address) {
    for (const slot of lines.querySelectorAll(".channel")) slot.textContent = address;
    find(".hint").hidden = true;
  }

  find(".tools").addEventListener("change", (event) => {
    root.dataset.tool = event.target.value;
  });

  // Copying: by the clipboard where the browser lets us, else by selecting the line for the person to copy.
  const say = (button, text) => {
    button.textContent = text;
    status.textContent = text;
    setTimeout(() => { button.textContent = "Copy"; status.textContent = ""; }, 2000);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const code = find("code", button.parentNode);
    const select = () => {
      getSelection().selectAllChildren(code);
      let copied = false;
      try { copied = document.execCommand("copy"); } catch {}
      say(button, copied ? "Copied" : "Selected");
    };
    if (navigator.clipboard && isSecureContext)
      navigator.clipboard.writeText(code.textContent).then(() => say(button, "Copied"), select);
    else select();
  });

  if (!list) return;
  const rows = [...list.tBodies].flatMap((body) => [...body.rows]);
  const headOf = (row) => find("summary", row) || row.cells[0];
  const nameOf = (row) => { const head = headOf(row); return (head.firstElementChild || head).textContent; };

  // A row's install lines are made when it is opened first.
  list.addEventListener("toggle", (event) => {
    const more = find(".more", event.target);
    if (!event.target.open || !more || find(".lines", more)) return;
    const name = nameOf(event.target.closest("tr"));
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name)) return;
    const own = lines.cloneNode(true);
    for (const slot of own.querySelectorAll(".package")) slot.replaceWith(name);
    more.prepend(own);
  }, true);

  // On the longest pages rows have nothing to open until they come into view.
  const bare = list.classList.contains("links");
  const upgrade = (row) => {
    const cell = row.cells[0];
    const [details, summary, more] = ["details", "summary", "div"].map((kind) => document.createElement(kind));
    more.className = "more";
    summary.append(...cell.childNodes);
    details.append(summary, more);
    cell.append(details);
  };
  const coming = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries)
      if (isIntersecting) for (const row of target.rows) if (!find("details", row)) upgrade(row);
  }, { rootMargin: "50%" });
  const watch = () => {
    if (bare) for (const body of list.tBodies) coming.observe(body);
  };
  watch();

  // What is shown: rows in the chosen order that match the search, in bodies of 100. Browsers lay out a body when it
  // comes near the window; a row that doesn't match is not in the document.
  const texts = rows.map((row) => headOf(row).textContent.toLowerCase());
  let order = rows.map((row, i) => i);
  const input = find(".find input");
  const output = find(".find output");
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = order.filter((i) => words.every((word) => texts[i].includes(word)));
    coming.disconnect();
    for (const body of [...list.tBodies]) body.remove();
    for (let at = 0; at < matching.length; at += 100) {
      const some = matching.slice(at, at + 100).map((i) => rows[i]);
      const body = list.createTBody();
      body.style.setProperty("--rows", some.length);
      body.append(...some);
    }
    watch();
    const number = (n) => n.toLocaleString("en");
    output.textContent = words.length ? number(matching.length) + " of " + number(rows.length) : "";
  };
  let waiting;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, rows.length > 3000 ? 150 : 0);
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target === input) return;
    event.preventDefault();
    input.focus();
  });
  if (input.value) show();

  const units = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 };
  const keys = {
    name: (row, i) => i,
    version: (row) => Number(row.dataset.v),
    size: (row, i, column) => {
      const [value, unit] = row.cells[column].textContent.split(" ");
      return unit ? value * units[unit] : -1;
    },
    date: (row, i, column) => Date.parse(row.cells[column].textContent) || 0,
    count: (row, i, column) => Number(row.cells[column].textContent.replaceAll(",", "")),
  };
  const heads = [...list.tHead.rows[0].cells];
  const sort = (column) => {
    const head = heads[column];
    const kind = head.dataset.sort;
    const now = head.getAttribute("aria-sort");
    const up = now === "none" ? kind === "name" : now === "descending";
    const of = rows.map((row, i) => keys[kind](row, i, column));
    order = rows.map((row, i) => i).sort((a, b) => (up ? of[a] - of[b] : of[b] - of[a]) || a - b);
    show();
    for (const other of heads) if (other.dataset.sort) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  };
  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", head.dataset.sort === "name" ? "ascending" : "none");
    button.addEventListener("click", () => sort(column));
  });

  const open = () => {
    if (!location.hash.startsWith("#p-")) return;
    const name = location.hash.slice(3);
    const row = rows.find((row) => row.id === "p-" + name || nameOf(row) === name);
    if (!row) return;
    if (!row.isConnected) { input.value = ""; show(); }
    if (bare && !find("details", row)) upgrade(row);
    const details = find("details", row);
    if (details) details.open = true;
    row.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
});
`;
