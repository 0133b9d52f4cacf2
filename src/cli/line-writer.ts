/** As many characters are gathered before they are written. */
const CHUNK = 64 * 1024;

/** Writes long output line by line, no faster than it is read. */
export interface LineWriter {
  line(text: string): void | Promise<void>;
  /** Writes what was gathered. */
  flush(): Promise<void>;
}

export function lineWriter(stream: NodeJS.WritableStream & { readonly destroyed?: boolean }): LineWriter {
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
  return {
    line(text) {
      gathered.push(text, "\n");
      length += text.length + 1;
      return length < CHUNK ? undefined : flush();
    },
    flush,
  };
}
