const BLOCK = 512;

/** Two empty blocks end a tar. */
export const END = Buffer.alloc(2 * BLOCK);

/** Bytes that fill up the last block. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** A larger size doesn't fit into a ustar header's eleven octal digits. */
const LARGE = 8 ** 11;

/**
 * The header of a member (POSIX ustar), with a pax header before it where the name or the size doesn't fit. Nothing in it
 * tells of when, where or by whom it was made: the same content gives the same archive.
 */
export function tarHeader(path: string, size: number): Buffer {
  const slash = path.lastIndexOf("/");
  const [prefix, name] = slash < 0 ? ["", path] : [path.slice(0, slash), path.slice(slash + 1)];
  const fits = /^[ -~]*$/.test(path) && name.length <= 100 && prefix.length <= 155;
  const fields = { ...(fits ? {} : { path }), ...(size < LARGE ? {} : { size: String(size) }) };
  const header = block(
    fits ? name : name.replace(/[^ -~]/g, "_").slice(0, 100),
    fits ? prefix : "",
    size < LARGE ? size : 0,
    "0",
  );
  if (Object.keys(fields).length === 0) return header;
  const text = Object.entries(fields).map(([key, value]) => paxLine(key, value));
  const body = Buffer.from(text.join(""));
  return Buffer.concat([block("PaxHeader", "", body.length, "x"), body, Buffer.alloc(paddingOf(body.length)), header]);
}

function block(name: string, prefix: string, size: number, type: string): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, "latin1");
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.fill(32, 148, 156);
  header.write(type, 156);
  header.write("ustar\0", 257);
  header.write("00", 263);
  header.write(prefix, 345, "latin1");
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** A line of a pax header begins with its own length. */
function paxLine(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes + 1;
  while (String(length).length + bytes !== length) length = String(length).length + bytes;
  return `${length}${rest}`;
}
