/** As many characters are gathered before they are written. */
const CHUNK = 64 * 1024;

/** Writes long output piece by piece, no faster than it is read. */
export interface Output {
  write(text: string): void | Promise<void>;
  /** The same, and a newline. */
  line(text: string): void | Promise<void>;
  /** Writes what was gathered. */
  flush(): Promise<void>;
}

export function openOutput(stream: NodeJS.WritableStream & { readonly destroyed?: boolean }): Output {
  let gathered: string[] = [];
  let length = 0;
  const flush = async (): Promise<void> => {
    const text = gathered.join("");
    gathered = [];
    length = 0;
    // Whoever read it may have gone, as `| head` does: then nobody says when to go on.
    if (text === "" || stream.destroyed || stream.write(text)) return;
    await new Promise<void>((resolve) => {
      const goOn = (): void => {
        for (const event of ["drain", "close", "error"]) stream.off(event, goOn);
        resolve();
      };
      for (const event of ["drain", "close", "error"]) stream.on(event, goOn);
    });
  };
  const write = (...texts: string[]): void | Promise<void> => {
    for (const text of texts) {
      gathered.push(text);
      length += text.length;
    }
    return length < CHUNK ? undefined : flush();
  };
  return { write, line: (text) => write(text, "\n"), flush };
}
