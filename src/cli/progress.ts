import type { IndexEvent, MirrorEvent } from "../events.ts";
import type { VerifyEvent } from "../verify-report.ts";
import type { Screen } from "./log.ts";
import { bytesText, secondsText } from "./render.ts";

export interface Progress extends Screen {
  event(event: MirrorEvent): void;
  indexing(event: IndexEvent): void;
  verifying(event: VerifyEvent): void;
  stop(): void;
  /** Stops, and counts anew with the next event. */
  reset(): void;
}

/** Where progress is drawn: stderr, or a test's stand-in. */
export interface Terminal {
  readonly columns?: number;
  write(text: string): unknown;
}

const REDRAW_MS = 100;
const LINE_MS = 10_000;
const MOST_LINES = 8;

/**
 * Shows how far a run is: bars on a terminal, a line every 10 s elsewhere, nothing when switched off.
 * @param mode "bars", "lines" or "off"
 */
export function makeProgress(
  mode: "bars" | "lines" | "off",
  terminal: Terminal,
  now: () => number = Date.now,
): Progress {
  const running = new Map<string, { bytes: number; size: number | undefined }>();
  let total = { packages: 0, bytes: 0, unknownSizes: 0 };
  let done = 0;
  let bytes = 0;
  let began = now();
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;

  const begin = () => {
    if (mode === "off" || timer) return;
    timer = setInterval(
      mode === "bars" ? draw : () => terminal.write(`${tell()}\n`),
      mode === "bars" ? REDRAW_MS : LINE_MS,
    );
    timer.unref();
  };
  const line = (): string => {
    const seconds = Math.max(0.001, (now() - began) / 1000);
    const rate = bytes / seconds;
    const known = total.unknownSizes === 0;
    const share = known && total.bytes > 0 ? bytes / total.bytes : total.packages > 0 ? done / total.packages : 1;
    const left = share > 0.01 && share < 1 ? `, ${secondsText((seconds / share - seconds) * 1000)} left` : "";
    return `${done}/${total.packages} packages, ${bytesText(bytes)}${known ? `/${bytesText(total.bytes)}` : ""}, ${bytesText(rate)}/s${left}`;
  };
  let tell = line;
  const clear = () => {
    if (drawn > 0) terminal.write(`\x1b[${drawn}A\x1b[0J`);
    drawn = 0;
  };
  const draw = () => {
    clear();
    const width = Math.max(20, (terminal.columns ?? 80) - 1);
    const rows = [...running.entries()].slice(0, MOST_LINES).map(([name, r]) => {
      const tail = `${bytesText(r.bytes)}${r.size === undefined ? "" : `/${bytesText(r.size)}`}`;
      return `  ${bar(r.size ? r.bytes / r.size : 0, 16)} ${tail.padStart(19)}  ${name}`;
    });
    if (running.size > MOST_LINES) rows.push(`  … ${running.size - MOST_LINES} more`);
    const lines = [...rows, `${bar(total.packages > 0 ? done / total.packages : 0, 16)} ${tell()}`];
    terminal.write(lines.map((l) => `${l.slice(0, width)}\n`).join(""));
    drawn = lines.length;
  };

  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    if (mode === "bars") clear();
  };

  return {
    indexing(e) {
      if (e.type === "reading") {
        total = { ...total, packages: total.packages + e.packages };
        tell = () => `${done}/${total.packages} packages read`;
        if (total.packages > 0) begin();
      } else if (e.type === "read") done++;
    },
    verifying(e) {
      if (e.type === "checking") {
        total = { ...total, packages: total.packages + e.packages, bytes: total.bytes + e.bytes };
        if (total.packages > 0) begin();
      } else if (e.type === "checked") {
        done += e.packages;
        bytes += e.bytes;
      }
    },
    event(e) {
      if (e.type === "reading") {
        tell = () => `reading archives, ${bytesText(bytes)}`;
        bytes += e.bytes;
        const r = running.get(e.source) ?? { bytes: 0, size: e.size };
        running.set(e.source, { bytes: r.bytes + e.bytes, size: e.size });
        begin();
      } else if (e.type === "planned") {
        // What was read on the way to the plan is over.
        running.clear();
        bytes = 0;
        tell = line;
        total = e;
        began = now();
        if (e.packages > 0) begin();
      } else if (e.type === "started") running.set(e.fileName, { bytes: 0, size: undefined });
      else if (e.type === "bytes") {
        bytes += e.bytes;
        const r = running.get(e.fileName);
        if (r) {
          r.bytes += e.bytes;
          r.size = e.size;
        }
      } else if (e.type === "finished" && running.delete(e.result.fileName)) done++;
    },
    write(text) {
      if (mode === "bars") clear();
      terminal.write(text);
    },
    stop,
    reset() {
      stop();
      running.clear();
      total = { packages: 0, bytes: 0, unknownSizes: 0 };
      done = 0;
      bytes = 0;
    },
  };
}

function bar(share: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "━".repeat(full) + "─".repeat(width - full);
}
